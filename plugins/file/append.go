package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/google/uuid"

	"github.com/pluginhost/host/sdk"
)

// appender adds lines to a file.
type appender struct {
	root *os.Root
	path string
	sync bool

	mu   sync.Mutex
	file *os.File
}

func (a *appender) append(_ context.Context, in json.RawMessage) (Written, error) {
	if a.path == "" {
		return Written{}, sdk.Errorf(sdk.FailedPrecondition, "the instance has no append = \"FILE\"")
	}
	line := bytes.ReplaceAll(text(in), []byte("\n"), []byte(" ")) // one line stays one line
	line = append(line, '\n')
	a.mu.Lock()
	defer a.mu.Unlock()
	f, err := a.current()
	if err == nil {
		_, err = f.Write(line) // one call: lines of several writers do not mix
	}
	if err == nil && a.sync {
		err = f.Sync()
	}
	if err != nil {
		_ = a.closeFile()
		return Written{}, failure(err)
	}
	return Written{Path: a.path, Bytes: len(line)}, nil
}

// current returns the file, opened anew when its name leads to another one now:
// log rotation moves it away.
func (a *appender) current() (*os.File, error) {
	if a.file != nil {
		have, err := a.file.Stat()
		now, err2 := a.root.Stat(a.path)
		if err == nil && err2 == nil && os.SameFile(have, now) {
			return a.file, nil
		}
		_ = a.closeFile()
	}
	// Without waiting for the reader of a pipe that somebody put there.
	f, err := a.root.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, err
	}
	a.file = f
	return f, nil
}

func (a *appender) closeFile() error {
	if a.file == nil {
		return nil
	}
	err := a.file.Close()
	a.file = nil
	return err
}

func (a *appender) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closeFile()
}

// writeWhole writes a file beside its place and moves it there.
func writeWhole(root *os.Root, in WriteInput) (Written, error) {
	if !filepath.IsLocal(in.Path) {
		return Written{}, sdk.Errorf(sdk.InvalidArgument, "%q leads out of dir", in.Path)
	}
	if in.Path = filepath.Clean(in.Path); in.Path == "." {
		return Written{}, sdk.Errorf(sdk.InvalidArgument, "the path is dir itself: name a file below it")
	}
	if info, err := root.Stat(in.Path); err == nil && info.IsDir() {
		return Written{}, sdk.Errorf(sdk.InvalidArgument, "%s is a directory", in.Path)
	}
	content := text(in.Content)
	if dir := filepath.Dir(in.Path); dir != "." {
		if err := root.MkdirAll(dir, 0o750); err != nil {
			return Written{}, failure(err)
		}
	}
	part := filepath.Join(filepath.Dir(in.Path), "."+filepath.Base(in.Path)+"."+uuid.NewString()+".part")
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return Written{}, failure(err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = root.Rename(part, in.Path)
	}
	if err != nil {
		_ = root.Remove(part)
		return Written{}, failure(err)
	}
	return Written{Path: in.Path, Bytes: len(content)}, nil
}

// text is a string's text, or the JSON of anything else.
func text(raw json.RawMessage) []byte {
	var s string
	if bytes.HasPrefix(raw, []byte(`"`)) && json.Unmarshal(raw, &s) == nil {
		return []byte(s)
	}
	return bytes.Clone(bytes.TrimSpace(raw))
}

// failure says whether another try may help.
func failure(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return sdk.Errorf(sdk.PermissionDenied, "%v", err)
	case errors.Is(err, fs.ErrNotExist):
		return sdk.Errorf(sdk.NotFound, "%v", err)
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, fs.ErrExist),
		strings.Contains(err.Error(), "escapes from parent"): // of os.Root, which has no error for it: a link leads out
		return sdk.Errorf(sdk.InvalidArgument, "%v", err)
	}
	return sdk.Errorf(sdk.Unavailable, "%v", err) // no room, for example
}

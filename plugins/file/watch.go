package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/pluginhost/host/sdk"
)

// FileInfo is the data of created, changed and removed.
type FileInfo struct {
	Path string     `json:"path" doc:"Below dir."`
	Size int64      `json:"size" doc:"In bytes; 0 when removed."`
	Time *time.Time `json:"modified,omitempty"`
}

// calm is how long a file must be left alone before it is told of, so that one
// copy is one event.
const calm = 200 * time.Millisecond

// version tells whether a file is still what it was.
type version struct {
	inode uint64
	size  int64
	time  int64 // of the last change, in nanoseconds
}

func versionOf(info fs.FileInfo) version {
	return version{inodeOf(info), info.Size(), info.ModTime().UnixNano()}
}

// watch emits an event for each file that appears, changes or goes.
func watch(ctx context.Context, c Config, root *os.Root, env *sdk.Env) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer func() { _ = w.Close() }()
	if err := w.Add(fmt.Sprintf("/proc/self/fd/%d", c.Dir.Fd())); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	known := map[string]version{}
	if err := each(root, c.Watch, func(name string, info fs.FileInfo) { known[name] = versionOf(info) }); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	touched := map[string]time.Time{}
	tick := time.NewTicker(calm / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Events:
			if !ok {
				return errors.New("the watch ended")
			}
			if name := filepath.Base(e.Name); matches(c.Watch, name) {
				touched[name] = time.Now()
			}
		case err := <-w.Errors: // an overflow: look at all of them
			env.Log.Warn("the watch missed something, looking again", "error", err)
			now := time.Now()
			for name := range known {
				touched[name] = now
			}
			_ = each(root, c.Watch, func(name string, _ fs.FileInfo) { touched[name] = now })
		case <-tick.C:
			for name, at := range touched {
				if time.Since(at) >= calm {
					delete(touched, name)
					tell(ctx, root, env, name, known)
				}
			}
		}
	}
}

// tell emits what has become of a file.
func tell(ctx context.Context, root *os.Root, env *sdk.Env, name string, known map[string]version) {
	before, was := known[name]
	info, err := root.Stat(name)
	switch {
	case err != nil && was:
		delete(known, name)
		removed.Emit(ctx, env, FileInfo{Path: name}, sdk.Subject(name))
	case err != nil || !info.Mode().IsRegular():
	case !was:
		known[name] = versionOf(info)
		created.Emit(ctx, env, about(name, info), sdk.Subject(name))
	case versionOf(info) != before:
		known[name] = versionOf(info)
		changed.Emit(ctx, env, about(name, info), sdk.Subject(name))
	}
}

func about(name string, info fs.FileInfo) FileInfo {
	t := info.ModTime().UTC()
	return FileInfo{Path: name, Size: info.Size(), Time: &t}
}

// matches leaves hidden files to patterns that begin with a dot, as a shell
// does: files are often made under such a name and then moved.
func matches(pattern, name string) bool {
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(pattern, ".") {
		return false
	}
	ok, _ := filepath.Match(pattern, name) // the pattern was checked
	return ok
}

// each calls f for the regular files that match.
func each(root *os.Root, pattern string, f func(string, fs.FileInfo)) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && matches(pattern, e.Name()) {
			f(e.Name(), info)
		}
	}
	return err
}

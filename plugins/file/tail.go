package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/pluginhost/host/sdk"
)

// Line is the data of line.
type Line struct {
	Path   string `json:"path"`
	Text   string `json:"text"`
	Offset int64  `json:"offset" doc:"Of its first byte in the file."`
}

const (
	tailPoll    = 100 * time.Millisecond
	tailPending = 256     // lines whose promise is not settled
	maxLine     = 1 << 20 // bytes; a longer line is split
	saveEvery   = 200 * time.Millisecond
	retryPause  = time.Second
)

// mark says up to where a file has been handled.
type mark struct {
	Inode  uint64 `json:"inode"`
	Offset int64  `json:"offset"`
}

// sent is a line whose outcome is awaited.
type sent struct {
	promise *sdk.Promise
	line    Line
	end     mark
}

// tailer follows one file. Lines are emitted in order; the mark moves in that
// order too, when the promise of a line has settled. A line rejected for good
// is logged and passed over; one whose error is retryable is emitted again.
type tailer struct {
	path  string
	from  string
	root  *os.Root
	env   *sdk.Env
	store string // where the mark is kept

	file    *os.File
	reader  *bufio.Reader
	at      mark   // read up to here
	partial []byte // a line without its end yet
	done    mark   // handled up to here
	saved   mark
	lastly  time.Time
	pending []sent
}

func newTail(c Config, root *os.Root, env *sdk.Env) *tailer {
	return &tailer{path: c.Tail, from: c.From, root: root, env: env, store: filepath.Join(env.StateDir, "tail.json")}
}

// run follows the file until ctx ends.
func (t *tailer) run(ctx context.Context) error {
	if err := t.load(); err != nil {
		return err
	}
	defer func() {
		t.closeFile()
		if err := t.save(true); err != nil {
			t.env.Log.Warn("the place in the file could not be recorded", "error", err)
		}
	}()
	first := true
	for ctx.Err() == nil {
		if t.file == nil && !t.open(first) {
			first = false // a file that comes later is read from its start
			t.settle(ctx, tailPoll)
			continue
		}
		first = false
		more, err := t.read(ctx)
		if err != nil {
			return fmt.Errorf("tail %s: %w", t.path, err)
		}
		if more {
			t.settle(ctx, 0)
			continue
		}
		t.settle(ctx, tailPoll)
		t.rotated()
	}
	return nil
}

// open opens the file where the last look left it: at the mark when it is the
// same file, at the start when it is another one.
func (t *tailer) open(first bool) bool {
	f, err := t.root.Open(t.path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			t.env.Log.Warn("the followed file cannot be opened", "error", err)
		}
		return false
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		return false
	}
	inode := inodeOf(info)
	at := mark{Inode: inode}
	switch {
	case t.at.Inode == inode && t.at.Offset <= info.Size():
		at.Offset = t.at.Offset
	case t.at.Inode == 0 && first && t.from == "end":
		at.Offset = info.Size()
	}
	if _, err := f.Seek(at.Offset, io.SeekStart); err != nil {
		_ = f.Close()
		return false
	}
	t.file, t.reader, t.at, t.partial = f, bufio.NewReaderSize(f, 64<<10), at, nil
	if len(t.pending) == 0 {
		t.done = at
	}
	return true
}

func (t *tailer) closeFile() {
	if t.file != nil {
		_ = t.file.Close()
		t.file = nil
	}
}

// read emits one line, and reports whether there may be more.
func (t *tailer) read(ctx context.Context) (more bool, err error) {
	b, err := t.reader.ReadSlice('\n')
	t.partial = append(t.partial, b...)
	whole := err == nil || len(t.partial) >= maxLine
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return false, err
	}
	if !whole {
		return errors.Is(err, bufio.ErrBufferFull), nil
	}
	line := Line{Path: t.path, Offset: t.at.Offset,
		Text: strings.ToValidUTF8(string(bytes.TrimRight(t.partial, "\r\n")), "\uFFFD")}
	t.at.Offset += int64(len(t.partial))
	t.partial = t.partial[:0]
	for len(t.pending) >= tailPending && ctx.Err() == nil {
		t.settle(ctx, tailPoll)
	}
	t.pending = append(t.pending, sent{promise: newLine.Emit(ctx, t.env, line), line: line, end: t.at})
	return true, nil
}

// settle takes the outcomes that are there, in order, and waits a while for the
// next.
func (t *tailer) settle(ctx context.Context, wait time.Duration) {
	timeout := time.After(wait)
	for len(t.pending) > 0 {
		p := t.pending[0]
		if wait > 0 {
			select {
			case <-p.promise.Done():
			case <-timeout:
				t.trySave()
				return
			case <-ctx.Done():
				return
			}
		} else {
			select {
			case <-p.promise.Done():
			default:
				return
			}
		}
		if _, err := p.promise.Wait(ctx); err != nil {
			var e *sdk.Error
			if errors.As(err, &e) && e.Retryable && ctx.Err() == nil {
				select {
				case <-time.After(retryPause):
				case <-ctx.Done():
					return
				}
				t.pending[0].promise = newLine.Emit(ctx, t.env, p.line)
				continue
			}
			if ctx.Err() != nil {
				return // it will be emitted again
			}
			t.env.Log.Warn("a line was passed over", "offset", p.line.Offset, "error", err)
		}
		t.done = p.end
		t.pending = t.pending[1:]
		t.trySave()
	}
	if wait > 0 {
		select {
		case <-timeout:
		case <-ctx.Done():
		}
	}
}

// rotated looks, at the end of the file, whether it was cut short or whether
// its name leads to another file now.
func (t *tailer) rotated() {
	have, err := t.file.Stat()
	if err != nil {
		t.closeFile()
		return
	}
	if have.Size() < t.at.Offset { // truncated: begin again
		t.closeFile()
		t.at = mark{}
		t.at.Inode = ^uint64(0) // not the mark of any file
		return
	}
	now, err := t.root.Stat(t.path)
	if err == nil && !os.SameFile(have, now) && have.Size() <= t.at.Offset+int64(len(t.partial)) {
		t.closeFile()
		t.at = mark{Inode: ^uint64(0)}
	}
}

func inodeOf(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

func (t *tailer) load() error {
	b, err := os.ReadFile(t.store)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &t.done); err != nil {
		t.env.Log.Warn("the recorded place is not usable, beginning anew", "file", t.store, "error", err)
		t.done = mark{}
	}
	t.at, t.saved = t.done, t.done
	return nil
}

func (t *tailer) trySave() {
	if err := t.save(false); err != nil {
		t.env.Log.Warn("the place in the file could not be recorded", "error", err)
	}
}

// save records the mark, not more often than needed unless it is the last time.
func (t *tailer) save(last bool) error {
	if t.done == t.saved || !last && time.Since(t.lastly) < saveEvery {
		return nil
	}
	b, err := json.Marshal(t.done)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(t.store), 0o700)
	}
	if err == nil {
		err = renameio.WriteFile(t.store, b, 0o600)
	}
	if err == nil {
		t.saved, t.lastly = t.done, time.Now()
	}
	return err
}

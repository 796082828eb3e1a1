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
	"unicode/utf8"

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
	tailPending = 256         // lines whose promise is not settled
	maxLine     = 512 << 10   // bytes; a longer line is split, so that it fits as JSON too
	rotateGrace = time.Second // without more in a file that was moved away, until it is left
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
	store string        // where the mark is kept
	stop  chan struct{} // closed when nothing is read any more
	ended chan struct{} // closed when run has returned

	file    *os.File
	reader  *bufio.Reader
	at      mark      // read up to here
	partial []byte    // a line without its end yet
	moved   time.Time // since when the name leads elsewhere and nothing came
	done    mark      // handled up to here
	saved   mark
	lastly  time.Time
	pending []sent
	said    string // why the file cannot be opened, told once
}

func newTail(c Config, root *os.Root, env *sdk.Env) *tailer {
	return &tailer{path: c.Tail, from: c.From, root: root, env: env, store: filepath.Join(env.StateDir, "tail.json"),
		stop: make(chan struct{}), ended: make(chan struct{})}
}

// drain stops reading and waits for the outcomes of what was read, so that the
// next instance does not read it again.
func (t *tailer) drain(ctx context.Context) {
	close(t.stop)
	select {
	case <-t.ended:
	case <-ctx.Done():
	}
}

func (t *tailer) draining() bool {
	select {
	case <-t.stop:
		return true
	default:
		return false
	}
}

// run follows the file until ctx ends.
func (t *tailer) run(ctx context.Context) error {
	defer close(t.ended)
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
		if t.draining() {
			if len(t.pending) == 0 {
				return nil
			}
			t.settle(ctx, tailPoll)
			continue
		}
		if t.file == nil && !t.open(first) {
			first = false
			if t.at.Inode == 0 { // a file that comes later is read from its start
				t.at = mark{Inode: noFile}
				t.done = t.at
			}
			t.trySave()
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
		t.trySave()
		t.rotated(ctx)
	}
	return nil
}

// open opens the file where the last look left it: at the mark when it is the
// same file, at the start when it is another one. A file that was moved away
// while nobody looked is finished first.
func (t *tailer) open(first bool) bool {
	f, info := t.regular(t.path)
	if first && t.at.Inode != 0 && (f == nil || inodeOf(info) != t.at.Inode) {
		if old, oldInfo := t.elsewhere(); old != nil {
			if f != nil {
				_ = f.Close()
			}
			f, info = old, oldInfo
		}
	}
	if f == nil {
		return false
	}
	at := mark{Inode: inodeOf(info)}
	switch {
	case t.at.Inode == at.Inode && t.at.Offset <= info.Size():
		at.Offset = t.at.Offset
	case t.at.Inode == 0 && first && t.from == "end":
		at.Offset = info.Size()
	}
	if _, err := f.Seek(at.Offset, io.SeekStart); err != nil {
		_ = f.Close()
		return false
	}
	t.file, t.reader, t.at, t.partial, t.moved = f, bufio.NewReaderSize(f, 64<<10), at, nil, time.Time{}
	if len(t.pending) == 0 {
		t.done = at
		t.trySave() // what comes from here on must not be passed over
	}
	return true
}

// regular opens a regular file, without waiting for the writer of a pipe.
func (t *tailer) regular(path string) (*os.File, fs.FileInfo) {
	f, err := t.root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	var info fs.FileInfo
	if err == nil {
		if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
			err = errors.New(path + " is not a regular file")
		}
		if err != nil {
			_ = f.Close()
		}
	}
	if path == t.path { // which is tried again and again
		why := ""
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			why = err.Error()
		}
		if why != t.said && why != "" {
			t.env.Log.Warn("the followed file cannot be read", "error", err)
		}
		t.said = why
	}
	if err != nil {
		return nil, nil
	}
	return f, info
}

// elsewhere finds the file of the mark beside its old name, when there is
// something left to read in it.
func (t *tailer) elsewhere() (*os.File, fs.FileInfo) {
	dir := filepath.Dir(t.path)
	entries, _ := fs.ReadDir(t.root.FS(), dir) // without the directory there is nothing to find
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || inodeOf(info) != t.at.Inode || info.Size() <= t.at.Offset {
			continue
		}
		if f, info := t.regular(filepath.Join(dir, e.Name())); f != nil {
			return f, info
		}
	}
	return nil, nil
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
	if len(b) > 0 {
		t.moved = time.Time{}
	}
	switch {
	case err == nil:
		t.emit(ctx, len(t.partial))
	case !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull):
		return false, err
	case len(t.partial) >= maxLine:
		t.emit(ctx, wholeRunes(t.partial))
	case errors.Is(err, io.EOF):
		return false, nil
	}
	return true, nil
}

// wholeRunes is the length of b without a rune that is cut in two at its end.
func wholeRunes(b []byte) int {
	for n := len(b) - 1; n >= max(0, len(b)-utf8.UTFMax); n-- {
		if utf8.RuneStart(b[n]) {
			if !utf8.FullRune(b[n:]) {
				return n
			}
			break
		}
	}
	return len(b)
}

// emit emits the first n bytes of what was read as a line.
func (t *tailer) emit(ctx context.Context, n int) {
	line := Line{Path: t.path, Offset: t.at.Offset,
		Text: strings.ToValidUTF8(string(bytes.TrimRight(t.partial[:n], "\r\n")), "\uFFFD")}
	t.at.Offset += int64(n)
	t.partial = append(t.partial[:0], t.partial[n:]...)
	for len(t.pending) >= tailPending && ctx.Err() == nil {
		t.settle(ctx, tailPoll)
	}
	t.pending = append(t.pending, sent{promise: newLine.Emit(ctx, t.env, line), line: line, end: t.at})
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
		if t.pending = t.pending[1:]; len(t.pending) == 0 {
			t.done = t.at // in another file, perhaps
		}
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
// its name leads to another file now. Who writes may notice later than we do, so
// a file that was moved away is left when nothing has come for a while. A line
// without an end is one then.
func (t *tailer) rotated(ctx context.Context) {
	have, err := t.file.Stat()
	if err != nil {
		t.closeFile()
		return
	}
	end := t.at.Offset + int64(len(t.partial))
	if have.Size() >= end {
		now, err := t.root.Stat(t.path)
		if err != nil || os.SameFile(have, now) || have.Size() > end {
			t.moved = time.Time{}
			return
		}
		if t.moved.IsZero() {
			t.moved = time.Now()
		}
		if time.Since(t.moved) < rotateGrace {
			return
		}
	}
	if len(t.partial) > 0 {
		t.emit(ctx, len(t.partial))
	}
	t.closeFile()
	t.at = mark{Inode: noFile} // whatever comes is read from its start
	if len(t.pending) == 0 {
		t.done = t.at
	}
}

// noFile is the inode of no file.
const noFile = ^uint64(0)

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

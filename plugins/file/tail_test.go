package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/sdktest"
)

// followed is a file being followed.
type followed struct {
	t     *testing.T
	path  string
	state string
	dir   string
}

func newFollowed(t *testing.T) *followed {
	t.Helper()
	dir := t.TempDir()
	return &followed{t: t, dir: dir, path: filepath.Join(dir, "app.log"), state: t.TempDir()}
}

func (f *followed) add(text string) {
	f.t.Helper()
	w, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.WriteString(text); err != nil {
		f.t.Fatal(err)
	}
}

func (f *followed) start(from string) *sdktest.Instance {
	f.t.Helper()
	return sdktest.Start(f.t, plugin(), with(f.t, f.dir, sdktest.Config{"tail": "app.log", "from": from}), sdktest.StateDir(f.state))
}

// opened waits until the tail has begun, which its mark shows.
func (f *followed) opened() {
	f.t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(filepath.Join(f.state, "tail.json")); err == nil && len(b) > 0 {
			return
		}
		if time.Since(begin) > time.Minute {
			f.t.Fatal("the tail did not record where it began")
		}
	}
}

// wants takes lines and resolves them.
func wants(t *testing.T, in *sdktest.Instance, lines ...string) {
	t.Helper()
	for _, want := range lines {
		e := in.Next("line")
		var l Line
		if e.Into(&l); l.Text != want || l.Path != "app.log" {
			t.Fatalf("%.80q at %d; wanted %.80q", l.Text, l.Offset, want)
		}
		e.Resolve(nil)
	}
}

// nothing waits a while in which no line may come.
func nothing(t *testing.T, in *sdktest.Instance) {
	t.Helper()
	time.Sleep(4 * tailPoll)
	for _, e := range in.Emitted("line") {
		t.Errorf("a line came: %.80s", e.Event.Data)
	}
}

func TestTail(t *testing.T) {
	f := newFollowed(t)
	f.add("before\n")
	in := f.start("end")
	f.opened()
	f.add("one\ntwo\r\n\nfour\n")
	wants(t, in, "one", "two", "", "four")
	f.add("half")
	nothing(t, in)
	f.add(" a line\nand \xff\n")
	wants(t, in, "half a line", "and \uFFFD")
	nothing(t, in)
}

func TestTailFromStart(t *testing.T) {
	f := newFollowed(t)
	f.add("one\ntwo\n")
	in := f.start("start")
	for _, want := range []Line{{"app.log", "one", 0}, {"app.log", "two", 4}} {
		e := in.Next("line")
		var l Line
		if e.Into(&l); l != want {
			t.Errorf("%+v", l)
		}
		e.Resolve(nil)
	}
}

// A file that is not there yet is read from its start when it comes, also by
// the next process when this one is killed before.
func TestTailOfAMissingFile(t *testing.T) {
	f := newFollowed(t)
	if err := syscall.Mkfifo(f.path, 0o600); err != nil { // a pipe is none, and does not hang it
		t.Fatal(err)
	}
	in := f.start("end")
	f.opened()
	os.Remove(f.path)
	in.Process().Kill()
	f.add("one\n")
	in = f.start("end")
	wants(t, in, "one")
	os.Remove(f.path)
	f.add("two\n")
	wants(t, in, "two")
}

// A file that cannot be followed is tried ten times a second, and told once.
func TestWhyNothingIsFollowed(t *testing.T) {
	f := newFollowed(t)
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var log strings.Builder
	tail := newTail(Config{Tail: "app.log"}, root, &sdk.Env{StateDir: f.state, Log: hclog.New(&hclog.LoggerOptions{Output: &log})})
	try := func(lines int, last string) {
		t.Helper()
		for range 3 {
			if file, _ := tail.regular(tail.path); file != nil {
				file.Close()
			}
		}
		if strings.Count(log.String(), "\n") != lines || !strings.HasSuffix(log.String(), last) {
			t.Errorf("wanted %d lines, the last with %q:\n%s", lines, last, log.String())
		}
	}
	try(0, "")
	os.Symlink("/etc/passwd", f.path)
	try(1, "escapes from parent\"\n")
	os.Remove(f.path)
	os.Mkdir(f.path, 0o700)
	try(2, "is not a regular file\"\n")
	os.Remove(f.path)
	f.add("one\n")
	try(2, "")
	os.Remove(f.path)
	os.Mkdir(f.path, 0o700)
	try(3, "is not a regular file\"\n")
}

func TestRotationByRename(t *testing.T) {
	f := newFollowed(t)
	in := f.start("start")
	f.add("one\n")
	wants(t, in, "one")
	w, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := os.Rename(f.path, f.path+".1"); err != nil {
		t.Fatal(err)
	}
	f.add("three\n")
	// Who writes has the old file open, and notices later. Its last line has no
	// end, and will never have one.
	time.Sleep(2 * tailPoll)
	w.WriteString("two\nlast")
	wants(t, in, "two", "last", "three")
	f.add("four\n")
	wants(t, in, "four")
}

func TestRotationByTruncation(t *testing.T) {
	f := newFollowed(t)
	in := f.start("start")
	f.add("a long first line\nhalf")
	wants(t, in, "a long first line")
	time.Sleep(2 * tailPoll)
	if err := os.Truncate(f.path, 0); err != nil {
		t.Fatal(err)
	}
	wants(t, in, "half") // cut off, not lost
	f.add("two\n")
	wants(t, in, "two")
	// Cut within what was read of a line.
	f.add("0123456789")
	time.Sleep(2 * tailPoll)
	if err := os.Truncate(f.path, 6); err != nil {
		t.Fatal(err)
	}
	wants(t, in, "0123456789", "two")
	f.add("!\n")
	wants(t, in, "01!")
}

// The mark moves when the promise of a line is resolved, and in order.
func TestCheckpoint(t *testing.T) {
	f := newFollowed(t)
	f.add("one\ntwo\nthree\n")
	in := f.start("start")
	one, two, three := in.Next("line"), in.Next("line"), in.Next("line")
	three.Resolve(nil) // out of order: it stays behind the others
	one.Resolve(nil)
	_ = two
	until(t, "the first is recorded", func() bool {
		b, _ := os.ReadFile(filepath.Join(f.state, "tail.json"))
		return strings.Contains(string(b), `"offset":4}`)
	})
	in.Process().Kill()
	in = f.start("start")
	again := in.Next("line")
	var l Line
	if again.Into(&l); l.Text != "two" {
		t.Errorf("read again: %+v", l)
	}
	again.Resolve(nil)
	wants(t, in, "three")
	in.Drain(time.Minute)
	f.add("four\n") // while nobody looks
	in = f.start("end")
	wants(t, in, "four")
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for begin := time.Now(); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatalf("not yet: %s", what)
		}
	}
}

// Killed right after the start, it does not pass over what came meanwhile.
func TestKilledBeforeTheFirstLine(t *testing.T) {
	f := newFollowed(t)
	f.add("before\n")
	in := f.start("end")
	f.opened()
	in.Process().Kill()
	f.add("between\n")
	wants(t, f.start("end"), "between")
}

// Rotated while nobody looks: the old file is finished, then the new one read.
func TestRotatedWhileDown(t *testing.T) {
	f := newFollowed(t)
	f.add("one\n")
	in := f.start("start")
	wants(t, in, "one")
	in.Drain(time.Minute)
	f.add("two\n")
	if err := os.Rename(f.path, f.path+".1"); err != nil {
		t.Fatal(err)
	}
	f.add("three\n")
	wants(t, f.start("start"), "two", "three")
}

func TestRejectedLines(t *testing.T) {
	f := newFollowed(t)
	f.add("one\ntwo\nthree\n")
	in := f.start("start")
	one, two, three := in.Next("line"), in.Next("line"), in.Next("line")
	one.Reject(sdk.Errorf(sdk.InvalidArgument, "never"))
	two.Reject(sdk.Errorf(sdk.Unavailable, "not now"))
	three.Resolve(nil)
	wants(t, in, "two") // again
	nothing(t, in)
	in.Drain(time.Minute)
	nothing(t, f.start("start"))
}

func TestVeryLongLine(t *testing.T) {
	f := newFollowed(t)
	long := strings.Repeat("é", maxLine) // two bytes each, so that a cut may fall between
	f.add("x" + long + "\nshort\n" + strings.Repeat("\x01", maxLine+1) + "\nend\n")
	in := f.start("start")
	var got strings.Builder
	in.Reply("line", func(e *sdktest.Emitted) (any, error) { return nil, nil })
	in.Drain(time.Minute)
	os.RemoveAll(f.state)

	in = f.start("start")
	for parts := 0; ; parts++ {
		var l Line
		e := in.Next("line")
		e.Into(&l)
		e.Resolve(nil)
		if l.Text == "end" {
			break
		}
		if parts > 10 {
			t.Fatal("too many parts")
		}
		if len(l.Text) > maxLine+64<<10 {
			t.Errorf("a part of %d bytes", len(l.Text))
		}
		fmt.Fprintf(&got, "%s|", l.Text)
	}
	text := strings.ReplaceAll(got.String(), "|", "")
	if want := "x" + long + "short" + strings.Repeat("\x01", maxLine+1); text != want {
		t.Errorf("%d bytes came of %d", len(text), len(want))
	}
}

// More lines than may be pending: the tail waits for outcomes, and loses none.
func TestManyLines(t *testing.T) {
	f := newFollowed(t)
	var all strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&all, "line %d\n", i)
	}
	f.add(all.String())
	in := f.start("start")
	time.Sleep(2 * tailPoll)
	for i := range 3000 {
		e := in.Next("line")
		var l Line
		if e.Into(&l); l.Text != fmt.Sprintf("line %d", i) {
			t.Fatalf("%q is number %d", l.Text, i)
		}
		e.Resolve(nil)
	}
	nothing(t, in)
}

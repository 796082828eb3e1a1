package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/sdktest"
)

// with adds the directory to a configuration.
func with(t *testing.T, dir string, c sdktest.Config) sdktest.Config {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	c["dir"] = f
	return c
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAppend(t *testing.T) {
	dir := t.TempDir()
	in := sdktest.Start(t, plugin(), with(t, dir, sdktest.Config{"append": "out.log", "sync": true}))
	path := filepath.Join(dir, "out.log")
	for input, want := range map[string]string{
		`"text"`:             "text\n",
		`"two\nlines"`:       "two lines\n",
		"{\"a\":\n 1}":       "{\"a\":  1}\n",
		`null`:               "null\n",
		` 12 `:               "12\n",
		`not JSON`:           "not JSON\n",
		`"quoted \"inside\"`: "\"quoted \\\"inside\\\"\n",
	} {
		os.Remove(path)
		v, err := in.Call("append", []byte(input))
		var w Written
		if err != nil || v.Into(&w) != nil || w.Path != "out.log" || w.Bytes != len(want) || read(t, path) != want {
			t.Errorf("%s: %s, %v, %q", input, v, err, read(t, path))
		}
	}
	// Moved away by a rotation, the file is made anew.
	before := read(t, path)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Call("append", []byte(`"next"`)); err != nil {
		t.Error(err)
	}
	if read(t, path) != "next\n" || read(t, path+".1") != before {
		t.Errorf("%q, %q", read(t, path), read(t, path+".1"))
	}
}

// Lines of many writers, in two instances, are whole.
func TestAppendConcurrently(t *testing.T) {
	dir := t.TempDir()
	p := sdktest.New(t, plugin())
	a := p.Start(with(t, dir, sdktest.Config{"append": "out.log"}), sdktest.Address("file.a"))
	b := p.Start(with(t, dir, sdktest.Config{"append": "out.log"}), sdktest.Address("file.b"))
	var writers sync.WaitGroup
	for n := range 8 {
		in := a
		if n%2 == 1 {
			in = b
		}
		writers.Go(func() {
			for i := range 50 {
				line := fmt.Sprintf("%d-%d-%s", n, i, strings.Repeat("x", 10_000))
				if _, err := in.Call("append", line); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	seen := map[string]bool{}
	for l := range strings.Lines(read(t, filepath.Join(dir, "out.log"))) {
		var n, i int
		if _, err := fmt.Sscanf(l, "%d-%d-", &n, &i); err != nil || len(l) < 10_000 || strings.Trim(strings.TrimSuffix(l, "\n")[len(fmt.Sprintf("%d-%d-", n, i)):], "x") != "" {
			t.Fatalf("a line is not whole: %.80q", l)
		}
		seen[fmt.Sprintf("%d-%d", n, i)] = true
	}
	if len(seen) != 400 {
		t.Errorf("%d lines of 400", len(seen))
	}
}

func TestAppendFails(t *testing.T) {
	dir := t.TempDir()
	in := sdktest.Start(t, plugin(), with(t, dir, sdktest.Config{"write": true}))
	if _, err := in.Call("append", "x"); err == nil || err.Code != sdk.FailedPrecondition {
		t.Errorf("without append: %v", err)
	}
	in = sdktest.Start(t, plugin(), with(t, dir, sdktest.Config{"append": "none/out.log"}))
	if _, err := in.Call("append", "x"); err == nil || err.Code != sdk.NotFound || err.Retryable {
		t.Errorf("no directory: %v", err)
	}
	// Somebody put a pipe there, which has no reader: nothing hangs.
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	in = sdktest.Start(t, plugin(), with(t, dir, sdktest.Config{"append": "pipe"}))
	if _, err := in.Call("append", "x"); err == nil {
		t.Error("a pipe without a reader took a line")
	}
	// Nor does a link lead out of the directory.
	if err := os.Symlink(filepath.Join(t.TempDir(), "secret"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	in = sdktest.Start(t, plugin(), with(t, dir, sdktest.Config{"append": "link"}))
	if _, err := in.Call("append", "x"); err == nil {
		t.Error("a link led out of dir")
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	in := sdktest.Start(t, plugin(), with(t, dir, sdktest.Config{"write": true}))
	for _, c := range []struct{ path, content, want string }{
		{"a.txt", `"hello\n"`, "hello\n"},
		{"sub/deep/b.json", `{"a":1}`, `{"a":1}`},
		{"./sub/../a.txt", `"again"`, "again"},
	} {
		if _, err := in.Call("write", WriteInput{c.path, json.RawMessage(c.content)}); err != nil || read(t, filepath.Join(dir, c.path)) != c.want {
			t.Errorf("%s: %v", c.path, err)
		}
	}
	for _, bad := range []string{"../x", "/etc/x", "", ".", "a/../../x", "sub", "sub/..", "a\x00b", strings.Repeat("x", 300), "a.txt/b"} {
		if _, err := in.Call("write", WriteInput{bad, json.RawMessage(`1`)}); err == nil || err.Code != sdk.InvalidArgument {
			t.Errorf("%q: %v", bad, err)
		}
	}
	outside := t.TempDir()
	os.Symlink(outside, filepath.Join(dir, "out"))
	if _, err := in.Call("write", WriteInput{"out/x", json.RawMessage(`1`)}); err == nil || err.Code != sdk.InvalidArgument {
		t.Error("a link led out of dir")
	}
	if e, _ := os.ReadDir(outside); len(e) > 0 {
		t.Errorf("written outside: %v", e)
	}
	entries, _ := filepath.Glob(filepath.Join(dir, ".*.part"))
	if len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
	locked := sdktest.Start(t, plugin(), with(t, dir, sdktest.Config{"append": "a.txt"}))
	if _, err := locked.Call("write", WriteInput{"c", json.RawMessage(`1`)}); err == nil || err.Code != sdk.PermissionDenied {
		t.Errorf("not allowed: %v", err)
	}
}

// A reader sees the old file or the new one, never a part.
func TestWriteIsAtomic(t *testing.T) {
	dir := t.TempDir()
	in := sdktest.Start(t, plugin(), with(t, dir, sdktest.Config{"write": true}))
	content := func(n int) string { return strings.Repeat(string(rune('a'+n%26)), 100_000) }
	write := func(n int) {
		b, _ := json.Marshal(content(n))
		if _, err := in.Call("write", WriteInput{"f", b}); err != nil {
			t.Error(err)
		}
	}
	write(0)
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			b, err := os.ReadFile(filepath.Join(dir, "f"))
			if err != nil || len(b) != 100_000 || strings.Trim(string(b), string(b[:1])) != "" {
				t.Errorf("%d bytes, %v", len(b), err)
				return
			}
		}
	})
	for n := range 60 {
		write(n)
	}
	close(stop)
	reader.Wait()
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("old.csv", "x")
	in := sdktest.Start(t, plugin(), with(t, dir, sdktest.Config{"watch": "*.csv"}))
	next := func(event string) FileInfo {
		t.Helper()
		var f FileInfo
		e := in.Next(event)
		if e.Into(&f); e.Event.Subject != f.Path {
			t.Errorf("subject %q of %q", e.Event.Subject, f.Path)
		}
		e.Resolve(nil)
		return f
	}
	// The watch begins some time after the commit.
	time.Sleep(200 * time.Millisecond)
	put("a.txt", "no")
	put(".hidden.csv", "no")
	os.Mkdir(filepath.Join(dir, "dir.csv"), 0o700)
	put("new.csv", "one")
	if f := next("created"); f.Path != "new.csv" || f.Size != 3 || f.Time == nil {
		t.Errorf("%+v", f)
	}
	put("old.csv", "xyz")
	if f := next("changed"); f.Path != "old.csv" || f.Size != 3 {
		t.Errorf("%+v", f)
	}
	// The same size and time, another content: another file has its place.
	info, err := os.Stat(filepath.Join(dir, "new.csv"))
	if err != nil {
		t.Fatal(err)
	}
	put("new.tmp", "two")
	os.Chtimes(filepath.Join(dir, "new.tmp"), info.ModTime(), info.ModTime())
	os.Rename(filepath.Join(dir, "new.tmp"), filepath.Join(dir, "new.csv"))
	if f := next("changed"); f.Path != "new.csv" {
		t.Errorf("%+v", f)
	}
	os.Rename(filepath.Join(dir, "new.csv"), filepath.Join(dir, "moved.csv"))
	if f := next("created"); f.Path != "moved.csv" {
		t.Errorf("%+v", f)
	}
	if f := next("removed"); f.Path != "new.csv" || f.Size != 0 || f.Time != nil {
		t.Errorf("%+v", f)
	}
	for _, name := range []string{"moved.csv", "old.csv"} {
		os.Remove(filepath.Join(dir, name))
		if f := next("removed"); f.Path != name {
			t.Errorf("%+v", f)
		}
	}
	for _, event := range []string{"created", "changed", "removed"} {
		for _, e := range in.Emitted(event) {
			t.Errorf("also %s: %s", event, e.Event.Data)
		}
	}
}

func TestCheck(t *testing.T) {
	p := sdktest.New(t, plugin())
	for _, c := range []struct {
		config    sdktest.Config
		attribute string
	}{
		{sdktest.Config{}, ""},
		{sdktest.Config{"append": "/var/log/x"}, "append"},
		{sdktest.Config{"tail": "../x"}, "tail"},
		{sdktest.Config{"watch": "["}, "watch"},
		{sdktest.Config{"watch": "a/*"}, "watch"},
	} {
		if d, _ := p.Verify(c.config); len(d) != 1 || d[0].Attribute != c.attribute {
			t.Errorf("%v: %+v", c.config, d)
		}
	}
}

package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pluginhost/host/sdk/schema"
)

// longest is how long something may take that is usually done at once: the
// machine may be busy.
const longest = time.Minute

// bench is a plugin directory and its catalog, whose Describe executes the
// descriptor that it gets and reads a manifest from what that prints.
type bench struct {
	*testing.T
	*Catalog
	dir     string
	started atomic.Int64 // processes
	last    atomic.Value // digest of what was executed last, by its own word
}

func newBench(t *testing.T, change ...func(*Options)) *bench {
	t.Helper()
	b := &bench{T: t, dir: filepath.Join(t.TempDir(), "plugins")}
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: b.dir, CacheDir: filepath.Join(t.TempDir(), "manifests"), Describe: b.describe, Deadline: longest, Poll: time.Hour}
	for _, c := range change {
		c(&o)
	}
	b.Catalog = New(o)
	t.Cleanup(b.closeAll)
	return b
}

func (b *bench) describe(ctx context.Context, exe *os.File, _, _ string) (*schema.Manifest, error) {
	b.started.Add(1)
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{exe}
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("it did not answer: %w", ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	var m schema.Manifest
	if err := json.Unmarshal(out, &m); err != nil {
		return nil, fmt.Errorf("it printed %.100q, which is no manifest", out)
	}
	b.last.Store(m.Doc)
	return &m, nil
}

func script(text string) []byte { return []byte("#!/bin/sh\n" + text + "\n") }

func plugin(name, version string) []byte {
	return script(fmt.Sprintf(`echo '{"name":%q,"version":%q}'`, name, version))
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// write puts a file into the directory, old enough not to be waited for.
func (b *bench) write(name string, content []byte, mode os.FileMode) {
	b.Helper()
	if err := os.WriteFile(b.path(name), content, 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.Chmod(b.path(name), mode); err != nil {
		b.Fatal(err)
	}
}

// scan scans until nothing is pending.
func (b *bench) scan() {
	b.Helper()
	for end := time.Now().Add(longest); ; {
		pending, err := b.Catalog.scan(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if !pending {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("still pending: %+v", b.Snapshot().Entries)
		}
	}
}

func (b *bench) entry(name string) Entry {
	for _, e := range b.Snapshot().Entries {
		if filepath.Base(e.Path) == name {
			return e
		}
	}
	return Entry{}
}

func (b *bench) wants(name string, state State, reason string) {
	b.Helper()
	if e := b.entry(name); e.State != state || !strings.Contains(e.Reason, reason) || (reason == "") != (e.Reason == "") {
		b.Errorf("%s is %q because %q, want %q because %q", name, e.State, e.Reason, state, reason)
	}
}

func (b *bench) eventually(what string, ok func() bool) {
	b.Helper()
	for end := time.Now().Add(longest); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%s: not within %s: %+v", what, longest, b.Snapshot().Entries)
		}
	}
}

func TestScan(t *testing.T) {
	b := newBench(t)
	b.write("one", plugin("one", "1.0.0"), 0o755)
	b.write("old", plugin("two", "1.9.0"), 0o755)
	b.write("new", plugin("two", "1.10.0"), 0o755)
	b.write("pre", plugin("two", "1.10.0-rc.1"), 0o755)
	b.write("copy", plugin("one", "1.0.0"), 0o755)
	b.write("text", []byte("not executable"), 0o644)
	b.write("group", plugin("g", "1.0.0"), 0o775)
	b.write("others", plugin("o", "1.0.0"), 0o757)
	b.write("empty", nil, 0o755)
	b.write("garbage", script("echo hello"), 0o755)
	b.write("fails", script("exit 3"), 0o755)
	b.write("name", plugin("A B", "1.0.0"), 0o755)
	for _, hidden := range []string{".hidden", "editor~", "half.tmp", "half.part"} {
		b.write(hidden, plugin("hidden", "1.0.0"), 0o755)
	}
	if err := os.Mkdir(b.path("directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.scan()
	b.wants("one", Superseded, "version 1.0.0 in copy")
	b.wants("copy", Ready, "") // is newer
	b.wants("new", Ready, "")
	b.wants("old", Superseded, "version 1.10.0 in new is used instead")
	b.wants("pre", Superseded, "version 1.10.0 in new")
	b.wants("text", Rejected, "chmod +x")
	b.wants("group", Rejected, "chmod go-w")
	b.wants("others", Rejected, "chmod go-w")
	b.wants("empty", Rejected, "empty")
	b.wants("garbage", Rejected, `it printed "hello`)
	b.wants("fails", Rejected, "exit status 3")
	b.wants("name", Rejected, `"A B" is not a plugin name`)
	b.wants("directory", Rejected, "is a directory")
	s := b.Snapshot()
	if len(s.Entries) != 13 {
		t.Errorf("%d entries: %+v", len(s.Entries), s.Entries)
	}
	if names := s.Names(); fmt.Sprint(names) != "[one two]" {
		t.Error(names)
	}
	if m, digest, ok := s.Manifest("two"); !ok || m.Version != "1.10.0" || digest != b.entry("new").Digest {
		t.Error(m, digest, ok)
	}
	if why := s.Rejected("garbage"); !strings.Contains(why, "hello") {
		t.Error(why)
	}
	if b.started.Load() != 7 { // copy is the same as one
		t.Errorf("%d processes for 7 different contents", b.started.Load())
	}

	// What is gone, and what comes in its place.
	if err := os.Remove(b.path("new")); err != nil {
		t.Fatal(err)
	}
	b.scan()
	b.wants("old", Superseded, "version 1.10.0-rc.1 in pre")
	b.wants("pre", Ready, "")
	if b.entry("new").Path != "" {
		t.Error("what was removed is listed")
	}
	if b.started.Load() != 7 {
		t.Error("a process was started for what is known")
	}
}

func TestDirectory(t *testing.T) {
	for name, test := range map[string]struct {
		change func(dir string) error
		want   string
	}{
		"missing": {os.Remove, "mkdir -p"},
		"a file": {func(dir string) error {
			return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600))
		}, "is not a directory"},
		"group-writable": {func(dir string) error { return os.Chmod(dir, 0o775) }, "chmod go-w"},
		"world-writable": {func(dir string) error { return os.Chmod(dir, 0o777) }, "chmod go-w"},
		"many": {func(dir string) error {
			for i := range maxFiles + 1 {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
					return err
				}
			}
			return nil
		}, "files or more"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if err := test.change(b.dir); err != nil {
				t.Fatal(err)
			}
			if err := b.Scan(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestSymlinks(t *testing.T) {
	b := newBench(t)
	outside := t.TempDir()
	for name, mode := range map[string]os.FileMode{"good": 0o755, "writable": 0o777} {
		path := filepath.Join(outside, name)
		if err := os.WriteFile(path, plugin(name, "1.0.0"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, b.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"dangling": "/nonexistent", "loop": b.path("loop"), "device": "/dev/zero", "directory": outside} {
		if err := os.Symlink(target, b.path(link)); err != nil {
			t.Fatal(err)
		}
	}
	b.scan()
	b.wants("good", Ready, "")
	b.wants("writable", Rejected, "chmod go-w")
	b.wants("dangling", Rejected, "no such file")
	b.wants("loop", Rejected, "too many levels")
	b.wants("device", Rejected, "is a device")
	b.wants("directory", Rejected, "is a directory")
	// A link that leads elsewhere now is another file.
	if err := os.WriteFile(filepath.Join(outside, "next"), plugin("good", "2.0.0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(filepath.Join(outside, "next"), 0o755), os.Remove(b.path("good")), os.Symlink(filepath.Join(outside, "next"), b.path("good"))); err != nil {
		t.Fatal(err)
	}
	b.scan()
	if e := b.entry("good"); e.Version != "2.0.0" {
		t.Errorf("%+v", e)
	}
}

// A stranger's file is refused, although nobody else can write to it.
func TestOwner(t *testing.T) {
	b := newBench(t)
	b.write("theirs", plugin("theirs", "1.0.0"), 0o755)
	if os.Geteuid() == 0 {
		if err := os.Chown(b.path("theirs"), 12345, -1); err != nil {
			t.Fatal(err)
		}
		b.scan()
		b.wants("theirs", Rejected, "belongs to user 12345")
	}
	// The rule itself, whoever runs the test.
	id := identity{mode: 0o100755, size: 1, uid: uint32(os.Geteuid()) + 7}
	if why := refuse("/p/x", id); !strings.Contains(why, "chown root /p/x") {
		t.Error(why)
	}
}

// The second start asks nobody, unless the cache cannot be believed.
func TestCache(t *testing.T) {
	b := newBench(t)
	b.write("one", plugin("one", "1.0.0"), 0o755)
	b.scan()
	file := b.cache.path(b.entry("one").Digest)
	again := func() int64 {
		t.Helper()
		n := newBench(t, func(o *Options) { o.Dir, o.CacheDir = b.o.Dir, b.o.CacheDir })
		n.scan()
		n.wants("one", Ready, "")
		if e := n.entry("one"); e.Version != "1.0.0" || e.Digest != b.entry("one").Digest {
			t.Errorf("%+v", e)
		}
		return n.started.Load()
	}
	if n := again(); n != 0 {
		t.Errorf("%d processes with a good cache", n)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty":           nil,
		"truncated":       good[:len(good)/2],
		"garbage":         []byte("garbage"),
		"another format":  bytes.Replace(good, []byte(`"format":1`), []byte(`"format":2`), 1),
		"another digest":  bytes.Replace(good, []byte(b.entry("one").Digest), bytes.Repeat([]byte("0"), 64), 1),
		"not valid":       bytes.Replace(good, []byte(`"name":"one"`), []byte(`"name":"ONE"`), 1),
		"without a value": []byte(fmt.Sprintf(`{"format":1,"digest":%q}`, b.entry("one").Digest)),
		"huge":            append(bytes.Clone(good), bytes.Repeat([]byte(" "), maxCached)...),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if n := again(); n != 1 {
			t.Errorf("%s: %d processes", name, n)
		}
		if now, _ := os.ReadFile(file); !bytes.Equal(now, good) {
			t.Errorf("%s: it was not written anew: %s", name, now)
		}
	}
	if st, err := os.Stat(filepath.Dir(file)); err != nil || st.Mode().Perm() != 0o700 {
		t.Error(st, err)
	}
	// Where nothing can be written, it works all the same.
	if err := errors.Join(os.RemoveAll(b.o.CacheDir), os.WriteFile(b.o.CacheDir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if n := again(); n != 1 {
		t.Errorf("%d processes without a cache", n)
	}
}

// While a file grows it is pending, and nobody executes half of it.
func TestStillBeingWritten(t *testing.T) {
	b := newBench(t)
	whole := plugin("slow", "1.0.0")
	b.write("slow", whole[:len(whole)-5], 0o755)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ { // somebody writes all the time
			if err := os.Chtimes(b.path("slow"), time.Now(), time.Now()); err != nil {
				t.Error(err)
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	if err := b.Scan(t.Context()); err != nil {
		t.Error(err)
	}
	b.wants("slow", Pending, "still being written")
	if b.started.Load() != 0 {
		t.Error("half a file was executed")
	}
	close(stop)
	<-stopped
	b.write("slow", whole, 0o755)
	b.scan()
	b.wants("slow", Ready, "")
	if b.started.Load() != 1 {
		t.Errorf("%d processes", b.started.Load())
	}
}

// Whatever happens to the path meanwhile, what is executed is what was hashed.
func TestReplacedWhileDescribed(t *testing.T) {
	var b *bench
	b = newBench(t, func(o *Options) {
		inner := o.Describe
		o.Describe = func(ctx context.Context, exe *os.File, path, digest string) (*schema.Manifest, error) {
			if b.started.Load() == 0 { // by the time it is executed the path leads elsewhere
				next := filepath.Join(filepath.Dir(path), "next.tmp")
				if err := errors.Join(os.WriteFile(next, plugin("one", "2.0.0"), 0o600), os.Chmod(next, 0o755), os.Rename(next, path)); err != nil {
					t.Error(err)
				}
			}
			return inner(ctx, exe, path, digest)
		}
	})
	first := plugin("one", "1.0.0")
	b.write("one", first, 0o755)
	// One look only, as long as it takes for the file to be stable.
	b.eventually("the first answer", func() bool {
		if _, err := b.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		return b.started.Load() == 1
	})
	e := b.entry("one")
	f := write(t, first)
	if sum, _ := digest(f); e.Digest != sum || e.Version != "1.0.0" {
		t.Errorf("version %s with digest %.8s is shown; the file hashed has %.8s", e.Version, e.Digest, sum)
	}
	exe, err := b.Open(e.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	if got, err := digest(exe); err != nil || got != e.Digest {
		t.Errorf("what would be executed has digest %.8s, shown is %.8s (%v)", got, e.Digest, err)
	}
	b.scan()
	if now := b.entry("one"); now.Version != "2.0.0" || now.Digest == e.Digest {
		t.Errorf("the next look: %+v", now)
	}
	// The old one is kept while it is in use, and no longer.
	b.Retain(map[string]bool{e.Digest: true})
	old, err := b.Open(e.Digest)
	if err != nil {
		t.Fatal(err)
	}
	_ = old.Close()
	b.Retain(nil)
	if old, err := b.Open(e.Digest); err == nil {
		_ = old.Close()
		t.Error("it is still held")
	}
}

func write(t *testing.T, content []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Writing into a file after it was checked is noticed before it is executed.
func TestChangedInPlace(t *testing.T) {
	b := newBench(t)
	b.write("one", plugin("one", "1.0.0"), 0o755)
	b.scan()
	sum := b.entry("one").Digest
	if err := os.Chmod(b.path("one"), 0o700); err != nil { // this is no other content
		t.Fatal(err)
	}
	f, err := b.Open(sum)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := os.WriteFile(b.path("one"), plugin("one", "6.6.6"), 0o700); err != nil {
		t.Fatal(err)
	}
	if f, err := b.Open(sum); err == nil {
		_ = f.Close()
		t.Error("another content was opened under the old digest")
	} else if !strings.Contains(err.Error(), "changed in place") {
		t.Error(err)
	}
}

func TestDescribeDeadline(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Deadline = 50 * time.Millisecond })
	b.write("silent", script("exec sleep 600"), 0o755)
	b.scan()
	b.wants("silent", Rejected, "did not answer")
	n := b.started.Load()
	b.scan()
	if b.started.Load() != n {
		t.Error("it is asked at every scan")
	}
	b.files[b.path("silent")].tried = time.Now().Add(-2 * retry)
	b.scan()
	if b.started.Load() != n+1 {
		t.Error("it is never asked again")
	}
}

// A manifest that costs its reader much, or lies, is refused with the reason.
func TestHostileManifests(t *testing.T) {
	fields := func(n int) []schema.Field {
		var list []schema.Field
		for i := range n {
			list = append(list, schema.Field{Name: fmt.Sprint("f", i), Type: schema.Type{Kind: schema.String}})
		}
		return list
	}
	for name, test := range map[string]struct {
		m    *schema.Manifest
		err  error
		want string
	}{
		"fields":   {&schema.Manifest{Name: "p", Version: "1.0.0", Config: fields(10_000)}, nil, "10000 fields"},
		"huge":     {&schema.Manifest{Name: "p", Version: "1.0.0", Doc: strings.Repeat("x", 10<<20)}, nil, "at most 2048"},
		"name":     {&schema.Manifest{Name: "../../etc/passwd", Version: "1.0.0"}, nil, "not a plugin name"},
		"version":  {&schema.Manifest{Name: "p", Version: "latest"}, nil, "semantic version"},
		"nothing":  {nil, errors.New("x"), "x"},
		"terminal": {nil, errors.New("line one\nline \x1b]0;two\x07\x00 \xff" + strings.Repeat("y", 10_000)), `line one line \x1b]0;two`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(o *Options) {
				o.Describe = func(context.Context, *os.File, string, string) (*schema.Manifest, error) { return test.m, test.err }
			})
			b.write("p", plugin("p", "1.0.0"), 0o755)
			b.scan()
			b.wants("p", Rejected, test.want)
			e := b.entry("p")
			if len(e.Reason) > maxReason+3 || strings.ContainsFunc(e.Reason, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }) {
				t.Errorf("not one clean line: %q", e.Reason)
			}
			if e.Name != "p" || e.Manifest != nil {
				t.Errorf("%+v", e)
			}
			if entries, _ := os.ReadDir(b.o.CacheDir); len(entries) > 0 {
				t.Error("it was cached")
			}
		})
	}
}

// The test binary is a plugin too: an ELF executable, in place of a script.
func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv("CATALOG_TEST_PLUGIN"); ok {
		fmt.Printf(`{"name":"elf","version":"1.0.0","doc":%q}`, dir)
		return
	}
	os.Exit(m.Run())
}

func TestELF(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CATALOG_TEST_PLUGIN", "by itself")
	b := newBench(t)
	b.write("elf", self, 0o755)
	b.scan()
	b.wants("elf", Ready, "")
	if e := b.entry("elf"); e.Name != "elf" || e.Manifest.Doc != "by itself" {
		t.Errorf("%+v", e)
	}
}

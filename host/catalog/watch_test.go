package catalog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// watched runs the catalog until the test ends.
func watched(b *bench) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- b.Catalog.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				b.Error(err)
			}
		case <-time.After(longest):
			b.Error("Run does not return")
		}
	})
}

// The watch alone, with a poll an hour away, sees what comes, changes and goes.
func TestWatch(t *testing.T) {
	b := newBench(t)
	b.scan()
	changes := b.Subscribe(t.Context())
	watched(b)
	b.write("first", plugin("first", "1.0.0"), 0o755)
	b.eventually("the first", func() bool { return b.entry("first").State == Ready })
	select {
	case <-changes:
	case <-time.After(longest):
		t.Error("nobody was told")
	}

	start := time.Now()
	b.write("second", plugin("second", "1.0.0"), 0o755)
	b.eventually("a new file", func() bool { return b.entry("second").State == Ready })
	t.Log("a new executable was ready after", time.Since(start))

	next := b.path("next.tmp")
	if err := errors.Join(os.WriteFile(next, plugin("second", "2.0.0"), 0o600), os.Chmod(next, 0o755), os.Rename(next, b.path("second"))); err != nil {
		t.Fatal(err)
	}
	b.eventually("a replaced file", func() bool { e := b.entry("second"); return e.State == Ready && e.Version == "2.0.0" })
	if err := os.Chmod(b.path("second"), 0o777); err != nil {
		t.Fatal(err)
	}
	b.eventually("a changed mode", func() bool { return b.entry("second").State == Rejected })
	if err := os.Remove(b.path("second")); err != nil {
		t.Fatal(err)
	}
	b.eventually("a removed file", func() bool { return b.entry("second").Path == "" })

	// The directory is replaced as a whole, as a deployment does.
	if err := os.Rename(b.dir, b.dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b.write("third", plugin("third", "1.0.0"), 0o755)
	b.eventually("a new directory", func() bool { return b.entry("third").State == Ready && b.entry("first").Path == "" })
	b.write("fourth", plugin("fourth", "1.0.0"), 0o755)
	b.eventually("a file in the new directory", func() bool { return b.entry("fourth").State == Ready })
}

// The slow poll finds what no watch tells: here a link's target outside of the
// directory, and the directory itself when it comes later.
func TestPoll(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Poll = 20 * time.Millisecond })
	outside := filepath.Join(t.TempDir(), "target")
	put := func(version string) {
		t.Helper()
		next := outside + ".next"
		if err := errors.Join(os.WriteFile(next, plugin("linked", version), 0o600), os.Chmod(next, 0o755), os.Rename(next, outside)); err != nil {
			t.Fatal(err)
		}
	}
	put("1.0.0")
	if err := os.Symlink(outside, b.path("linked")); err != nil {
		t.Fatal(err)
	}
	watched(b)
	b.eventually("the link", func() bool { return b.entry("linked").Version == "1.0.0" })
	put("2.0.0")
	b.eventually("its target", func() bool { return b.entry("linked").Version == "2.0.0" })

	if err := os.Rename(b.dir, b.dir+".old"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b.write("third", plugin("third", "1.0.0"), 0o755)
	b.eventually("a new directory", func() bool { return b.entry("third").State == Ready && b.entry("linked").Path == "" })
}

package trouble

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// What a handler was refused of late is named, with how often and what to do.
func TestTroubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var x Log
		hide := func(s string) string { return strings.ReplaceAll(s, "s3cret", "(secret)") }
		for range 3 {
			x.Hear("open /etc/shadow: Permission denied", hide)
		}
		x.Hear("write big: no space left on device\nand more", hide)
		x.Hear("the order is unknown", hide)
		got := x.Notes(nil, "")
		if len(got) != 2 || !strings.Contains(got[0], "no rights to") || !strings.Contains(got[0], "of late 3 times, the last: open /etc/shadow: Permission denied") ||
			!strings.Contains(got[1], "no space left to write") || strings.Contains(got[1], "\n") {
			t.Errorf("it says\n%s", strings.Join(got, "\n"))
		}
		time.Sleep(Recent + time.Second)
		if got := x.Notes(nil, ""); len(got) > 0 {
			t.Errorf("long after it says %q", got)
		}
		x.Hear("permission denied "+strings.Repeat("x", 160-len("permission denied ")-3)+"s3cret", hide)
		if got := x.Notes(nil, ""); len(got) != 1 || !strings.Contains(got[0], "of late once: permission") || strings.Contains(got[0], "s3c") {
			t.Errorf("then it says %q", got)
		}
	})
}

func TestFull(t *testing.T) {
	for _, c := range []struct {
		fs   unix.Statfs_t
		want string
	}{
		{unix.Statfs_t{}, ""}, // not there yet
		{unix.Statfs_t{Blocks: 1 << 14, Bsize: 4096, Bavail: 1, Files: 9, Ffree: 1}, ""},
		{unix.Statfs_t{Blocks: 1 << 14, Bsize: 4096, Files: 9, Ffree: 1}, "no space is left on the file system of its directory /x (64 MiB)"},
		{unix.Statfs_t{Blocks: 1 << 14, Bsize: 4096, Bavail: 1, Files: 9}, "no file can be made on the file system of its directory /x (9 are there)"},
		{unix.Statfs_t{Blocks: 1 << 14, Bsize: 4096, Bavail: 1}, ""}, // it counts no files
	} {
		if got := full("/x", &c.fs); got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
			t.Errorf("%+v: %q, want %q", c.fs, got, c.want)
		}
	}
}

// Of what a plugin wrote, only what tells of a refusal is told, once.
func TestRefused(t *testing.T) {
	lines := Refused([]string{"it began", "dial: Permission denied", "and went on", "again: permission denied"})
	if len(lines) != 2 {
		t.Fatalf("it wrote of refusals in %q", lines)
	}
	var x Log
	if got := x.Notes(lines, ""); len(got) != 1 || !strings.Contains(got[0], "it wrote: dial: Permission denied") {
		t.Errorf("it says %q", got)
	}
}

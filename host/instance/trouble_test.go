package instance

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
		var x troubles
		for range 3 {
			x.hear("open /etc/shadow: Permission denied")
		}
		x.hear("write big: no space left on device\nand more")
		x.hear("the order is unknown")
		got := x.notes(nil, "")
		if len(got) != 2 || !strings.Contains(got[0], "no rights to") || !strings.Contains(got[0], "3 times within 1m0s, the last: open /etc/shadow: Permission denied") ||
			!strings.Contains(got[1], "no space left to write") || strings.Contains(got[1], "\n") {
			t.Errorf("it says\n%s", strings.Join(got, "\n"))
		}
		time.Sleep(recent + time.Second)
		if got := x.notes(nil, ""); len(got) > 0 {
			t.Errorf("long after it says %q", got)
		}
		x.hear("permission denied")
		if got := x.notes(nil, ""); len(got) != 1 || !strings.Contains(got[0], "1 times") {
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

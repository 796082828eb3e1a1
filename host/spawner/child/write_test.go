package child

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// After Write a thread changes nothing but what is named, whoever it belongs to,
// and reads all the same.
func TestWrite(t *testing.T) {
	if LandlockABI() == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("this kernel has no Landlock")
		}
		t.Skip("*** NO LANDLOCK: that the manager writes to its state only is not tried")
	}
	own, other := t.TempDir(), t.TempDir()
	there := filepath.Join(other, "there")
	link := filepath.Join(own, "link")
	if err := errors.Join(os.WriteFile(there, []byte("old"), 0o600), os.Symlink(other, link)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with what it lost
		if err := Write([]string{own}); err != nil {
			t.Error(err)
			return
		}
		mine := filepath.Join(own, "mine")
		if err := errors.Join(os.WriteFile(mine, nil, 0o600), os.Mkdir(filepath.Join(own, "d"), 0o700), os.Rename(mine, filepath.Join(own, "d", "x")),
			os.RemoveAll(filepath.Join(own, "d"))); err != nil {
			t.Errorf("in its own directory: %v", err)
		}
		if b, err := os.ReadFile(there); err != nil || string(b) != "old" {
			t.Errorf("it reads %q, %v", b, err)
		}
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
		} else {
			_ = null.Close()
		}
		for what, err := range map[string]error{
			"create":                os.WriteFile(filepath.Join(other, "new"), nil, 0o600),
			"create through a link": os.WriteFile(filepath.Join(link, "new"), nil, 0o600),
			"append":                appendTo(there),
			"truncate":              os.Truncate(there, 0),
			"mkdir":                 os.Mkdir(filepath.Join(other, "new"), 0o700),
			"remove":                os.Remove(there),
			"link":                  os.Symlink("x", filepath.Join(other, "new")),
			"bind":                  bind(filepath.Join(other, "new")),
		} {
			if !errors.Is(err, unix.EACCES) {
				t.Errorf("%s elsewhere: %v, want EACCES", what, err)
			}
		}
		// Moving in or out is refused, whichever of the two errors the kernel has.
		if err := os.Rename(there, filepath.Join(own, "moved")); !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EXDEV) {
			t.Errorf("move from elsewhere: %v", err)
		}
	}()
	<-done
	if b, err := os.ReadFile(there); err != nil || string(b) != "old" {
		t.Errorf("a file elsewhere has %q, %v", b, err)
	}
}

func appendTo(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_ = f.Close()
	}
	return err
}

func bind(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Close(fd))
}

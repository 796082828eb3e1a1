package control

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Mode()
}

func listen(t *testing.T, path string) (*Server, error) {
	t.Helper()
	s := NewServer(hclog.NewNullLogger())
	err := s.Listen(path)
	t.Cleanup(func() { _ = s.Close() })
	return s, err
}

func TestSocketIsPrivate(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	path := socketPath(t)
	s, err := listen(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if m := mode(t, filepath.Dir(path)); m.Perm() != 0o700 {
		t.Errorf("the directory has mode %o", m.Perm())
	}
	if m := mode(t, path); m.Perm() != 0o600 || m.Type() != os.ModeSocket {
		t.Errorf("the socket is %s", m)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("the socket is still there")
	}
}

func TestListenRefusesPlacesThatAreNotPrivate(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		prepare    func(t *testing.T, path string)
	}{
		{"open to others", "chmod 700", func(t *testing.T, path string) {
			if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
		}},
		{"symbolic link", "symbolic link", func(t *testing.T, path string) {
			if err := os.Symlink(t.TempDir(), filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file in the way", "remove it", func(t *testing.T, path string) {
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file for a directory", "--state-dir", func(t *testing.T, path string) {
			if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"of another user", "belongs to user 12345", func(t *testing.T, path string) {
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(filepath.Dir(path), 12345, 12345); err != nil {
				needRoot(t, "only root can give a directory away: "+err.Error())
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := socketPath(t)
			tt.prepare(t, path)
			if _, err := listen(t, path); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want it to say %q", err, tt.want)
			}
		})
	}
}

// needRoot ends a test that needs root where it is not: loudly, and as a failure
// under CI=true.
func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip("*** NOT ROOT: " + why)
}

func TestLongPathIsRefused(t *testing.T) {
	path := filepath.Join(filepath.Dir(socketPath(t)), strings.Repeat("x", 100), "host.sock")
	if _, err := listen(t, path); err == nil || !strings.Contains(err.Error(), "at most 107") {
		t.Errorf("a path that no socket can have: %v", err)
	}
}

// What a daemon that was killed has left behind is replaced.
func TestStaleSocketIsReplaced(t *testing.T) {
	path := socketPath(t)
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t, path); err != nil {
		t.Error(err)
	}
}

func TestLiveSocketIsRefused(t *testing.T) {
	path := socketPath(t)
	first, err := listen(t, path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = listen(t, path)
	if want := fmt.Sprintf("pid %d", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want it to name %s", err, want)
	}
	// The refused one took nothing with it, and the place is free afterwards.
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t, path); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
}

// Of many that start at once on a leftover, one gets the socket and keeps it.
func TestOneOfManyListens(t *testing.T) {
	for range 20 {
		path := socketPath(t)
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		stale.SetUnlinkOnClose(false)
		_ = stale.Close()
		var mu sync.Mutex
		var won int
		var all sync.WaitGroup
		for range 8 {
			s := NewServer(hclog.NewNullLogger())
			t.Cleanup(func() { _ = s.Close() })
			all.Go(func() {
				if s.Listen(path) == nil {
					mu.Lock()
					won++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if _, err := os.Lstat(path); won != 1 || err != nil {
			t.Fatalf("%d of 8 got the socket, which is %v", won, err)
		}
	}
}

func TestAllowed(t *testing.T) {
	own := uint32(os.Geteuid())
	for uid, want := range map[uint32]bool{0: true, own: true, own + 1: false, 65534: own == 65534} {
		if got := allowed(&unix.Ucred{Uid: uid}); got != want {
			t.Errorf("uid %d: %t, want %t", uid, got, want)
		}
	}
}

// Another user who got hold of the socket all the same is not answered.
func TestPeerOfAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		needRoot(t, "only root can be another user")
	}
	path, _ := serve(t, &fake{})
	for p, m := range map[string]os.FileMode{filepath.Dir(filepath.Dir(path)): 0o755, filepath.Dir(path): 0o755, path: 0o666} {
		if err := os.Chmod(p, m); err != nil {
			t.Fatal(err)
		}
	}
	read := func(uid int) (int, error) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return 0, err
		}
		defer func() { _ = unix.Close(fd) }()
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), ^uintptr(0)); e != 0 {
			return 0, e
		}
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			return 0, err
		}
		_, _ = unix.Write(fd, []byte("GET / HTTP/1.0\r\n\r\n")) // it may be closed already
		return unix.Read(fd, make([]byte, 16))
	}
	for _, uid := range []int{0, 12345} {
		type result struct {
			n   int
			err error
		}
		got := make(chan result, 1)
		go func() {
			runtime.LockOSThread() // for good: the thread ends with the goroutine
			n, err := read(uid)
			got <- result{n, err}
		}()
		r := within(t, "an answer or the end", got)
		if answered := r.n > 0; answered != (uid == 0) {
			t.Errorf("uid %d: %d bytes, %v", uid, r.n, r.err)
		}
	}
}

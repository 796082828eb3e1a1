package server

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/message"
)

// A manager that was taken over asks for whatever it can think of. It gets
// nothing that the policy does not allow: every socket that is held, every
// process that runs and every file that is changed is looked at.
func TestCompromisedManager(t *testing.T) {
	needRoot(t)
	b := newBench(t)
	b.end()
	sensitive := filepath.Join(b.dir, "root-only")
	if err := os.WriteFile(sensitive, []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	// What it may write to is its own: links to what is not are the oldest trick.
	own := filepath.Join(b.dir, "own")
	if err := errors.Join(os.Mkdir(own, 0o755), os.Chown(own, int(b.user.UID), int(b.user.GID))); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"file": sensitive, "dir": b.dir, "shadow": "/etc/shadow"} {
		if err := os.Symlink(to, filepath.Join(own, name)); err != nil {
			t.Fatal(err)
		}
	}
	before := listing(t, b.dir)

	seed := *attackSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("again with -attack-seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	asked, granted := 0, 0
	for end := time.Now().Add(*attack); time.Now().Before(end); {
		conn, theirs, err := conns()
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- b.s.Serve(t.Context(), theirs) }()
		liar := &liar{b: b, r: random, own: own, sensitive: sensitive}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, message.Max)
		for range 40 {
			q, fds := liar.request()
			data, err := message.Encode(q.Fields)
			if err != nil {
				continue
			}
			if random.IntN(4) == 0 { // or something that is none
				for range 1 + random.IntN(8) {
					data[random.IntN(len(data))] = byte(random.Uint32())
				}
			}
			asked++
			if _, _, err := conn.WriteMsgUnix(data, unix.UnixRights(fds...), nil); err != nil {
				break
			}
			for { // ends of processes come in between
				var a spawner.Reply
				got, err := spawner.Receive(conn, buf, a.Fields)
				if err != nil {
					t.Fatalf("the spawner ended: %v", err)
				}
				spawner.CloseAll(got)
				if a.ID == 0 && a.Process > 0 {
					continue
				}
				if a.Kind == "" {
					granted++
					liar.remember(a)
				}
				break
			}
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
			liar.check(t)
		}
		_ = conn.Close()
		if err := <-served; err != nil {
			t.Log(err)
		}
	}
	t.Logf("%d requests, %d granted", asked, granted)
	if granted == 0 {
		t.Error("nothing was granted: the attack did not reach anything")
	}
	if after := listing(t, b.dir); after != before {
		t.Errorf("files of root were changed\nbefore\n%s\nafter\n%s", before, after)
	}
	if text, _ := os.ReadFile(sensitive); string(text) != "root's" {
		t.Errorf("a file of root has %q", text)
	}
}

// listing describes what below dir belongs to root.
func listing(t *testing.T, dir string) string {
	var s strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Uid == 0 {
			fmt.Fprintf(&s, "%s %s %d:%d\n", path, info.Mode(), st.Uid, st.Gid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.String()
}

// liar makes requests.
type liar struct {
	b              *bench
	r              *rand.Rand
	own, sensitive string
	last           uint64
	leases, dirs   []string
	processes      []uint64
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func (l *liar) remember(a spawner.Reply) {
	if a.Lease != "" {
		l.leases = append(l.leases, a.Lease)
	}
	if a.Process > 0 {
		l.processes = append(l.processes, a.Process)
	}
	if strings.HasPrefix(a.Address, l.b.s.base) {
		l.dirs = append(l.dirs, a.Address)
	}
}

func (l *liar) request() (q spawner.Request, fds []int) {
	r := l.r
	l.last++
	paths := []string{l.sensitive, "/etc/shadow", "/etc/passwd", filepath.Join(l.own, "file"), filepath.Join(l.own, "shadow"),
		filepath.Join(l.own, "dir", "root-only"), filepath.Join(l.own, "new"), filepath.Join(l.b.dir, "new"), "/root/new", "/dev/mem", "/proc/1/mem",
		"/proc/self/mem", "/proc/self/exe", "/", l.own, "", "relative", "/etc/../etc/shadow", "/dev/kmsg", "/run/evil.sock", filepath.Join(l.own, "sock")}
	q = spawner.Request{ID: l.last, Asks: byte(1 + r.IntN(int(spawner.AsksSweep)))}
	q.Hello = spawner.Hello{StateDir: pick(r, "/etc", l.own, filepath.Join(l.own, "dir"), filepath.Join(l.b.dir, "state")), PluginDir: pick(r, l.own, "/usr/bin", l.b.plugins, "")}
	q.Bind = spawner.Bind{Network: pick(r, "tcp", "tcp4", "tcp6", "udp", "udp4", "unix", "unixgram", "ip", ""),
		Address: pick(r, "0.0.0.0:22", "127.0.0.1:25", "[::]:53", "127.0.0.1:0", "0.0.0.0:1", "[::1]:1023", ":111", "127.0.0.1:443", "[::ffff:0.0.0.0]:22",
			"127.0.0.1:39999", pick(r, paths...)), Key: pick(r, "", "k"), Device: pick(r, "", "", "lo", "eth0"), FreeBind: r.IntN(8) == 0,
		Transparent: r.IntN(8) == 0, ReusePort: r.IntN(4) == 0, Over: l.leases[:min(len(l.leases), r.IntN(3))], Settings: l.settings()}
	q.Set = l.settings()
	q.Open = spawner.Open{Path: pick(r, paths...), Access: pick(r, "read", "append", "write", "directory", "execute")}
	q.User = pick(r, "", "root", "nobody", "daemon", "0", "+0", "bin")
	if len(l.leases) > 0 {
		q.Lease = pick(r, l.leases...)
	}
	if len(l.processes) > 0 {
		q.Number = pick(r, l.processes...)
	}
	q.Number = pick(r, q.Number, 0, 1, r.Uint64())
	q.Signal = pick(r, int64(0), 9, 15, -1, 64, 1<<40)
	q.Inodes = []string{"1", "../x"}
	dir := pick(r, "", "/etc", l.own)
	if len(l.dirs) > 0 && r.IntN(4) > 0 {
		dir = l.dirs[len(l.dirs)-1]
	}
	q.Start = spawner.Start{Argv: []string{"program", "exit"}, Env: []string{"LD_PRELOAD=" + l.own + "/evil.so"}, Dir: dir,
		User: pick(r, "", "", "root", "daemon"), State: pick(r, "", "x", "../x", "."), Memory: pick(r, int64(0), 64<<20),
		Free: r.IntN(2) == 0, Network: r.IntN(2) == 0, Write: []string{"/etc", l.own}, Core: pick(r, int64(0), 1<<30)}
	if q.Asks == spawner.AsksStart || r.IntN(10) == 0 {
		for range 1 + r.IntN(2) {
			if fd, err := unix.Open(pick(r, l.b.exe, l.b.exe, "/bin/sh", "/etc/passwd", l.own, "/dev/null"), unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
				fds = append(fds, fd)
			}
		}
	}
	return q, fds
}

// mayOpen reports whether the user could open itself what fd is open for. Names
// say nothing: a request that was spoilt makes a new file of its user's.
func mayOpen(t *testing.T, fd int, u *User) bool {
	t.Helper()
	var st unix.Stat_t
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err = errors.Join(err, unix.Fstat(fd, &st)); err != nil {
		t.Fatal(err)
	}
	bits := st.Mode
	switch {
	case st.Uid == u.UID:
		bits >>= 6
	case st.Gid == u.GID || slices.Contains(u.Groups, st.Gid):
		bits >>= 3
	}
	read, write := bits&4 != 0, bits&2 != 0
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return read || flags&unix.O_PATH != 0
	case unix.O_WRONLY:
		return write
	}
	return read && write
}

func (l *liar) settings() spawner.Settings {
	r := l.r
	return spawner.Settings{Backlog: pick(r, 0, 1, 1<<30), Mode: pick(r, uint32(0o600), 0o666, 0o4777), UID: pick(r, -1, -1, 0, 65534), GID: pick(r, -1, -1, 0),
		ReceiveBuffer: pick(r, 0, 1<<30), SendBuffer: pick(r, 0, 1<<20), KeepAlive: pick(r, 0, 1)}
}

// check looks at what is held and what runs.
func (l *liar) check(t *testing.T) {
	s := l.b.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, h := range s.leases {
		if !h.IsSocket() {
			if !mayOpen(t, h.FD(), l.b.user) {
				to, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", h.FD()))
				t.Fatalf("%s is %q, which its user may not open", name, to)
			}
			continue
		}
		for _, o := range [][2]int{{unix.IPPROTO_IP, unix.IP_TRANSPARENT}, {unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT}} {
			if on, err := unix.GetsockoptInt(h.FD(), o[0], o[1]); err == nil && on != 0 {
				t.Fatalf("%s stands for other machines", name)
			}
		}
		at, err := unix.Getsockname(h.FD())
		port := 1024
		switch a := at.(type) {
		case *unix.SockaddrInet4:
			port = a.Port
		case *unix.SockaddrInet6:
			port = a.Port
		}
		if err == nil && port < 1024 && port != 80 && port != 443 {
			t.Fatalf("%s is bound to port %d", name, port)
		}
	}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	for _, pid := range strings.Fields(string(children)) {
		status, _ := os.ReadFile("/proc/" + pid + "/status")
		if strings.Contains(string(status), "\nUid:\t0\t") {
			t.Fatalf("a process runs as root:\n%s", status)
		}
	}
}

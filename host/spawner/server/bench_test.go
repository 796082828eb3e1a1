package server

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/child"
	"github.com/pluginhost/host/host/spawner/client"
	"github.com/pluginhost/host/host/spawner/policy"
)

var (
	swaps  = flag.Int("swaps", 2000, "how often the executable is swapped")
	attack = flag.Duration("attack", 2*time.Second, "how long the compromised manager asks")

	attackSeed = flag.Uint64("attack-seed", 0, "what it asks, again; 0 is something new")
)

// The test binary is the spawner, the child and the program that is started:
// a copy of it in the plugin directory does what its arguments say.
func TestMain(m *testing.M) {
	child.Main()
	if os.Args[0] == "program" {
		program(os.Args[1:])
		return
	}
	os.Exit(m.Run())
}

// program says on its standard output what it could do, then "done".
func program(args []string) {
	say := func(format string, a ...any) { fmt.Printf(format+"\n", a...) }
	result := func(err error) {
		if err != nil {
			say("refused: %v", err)
		} else {
			say("possible")
		}
	}
	switch args[0] {
	case "show":
		status, _ := os.ReadFile("/proc/self/status")
		for _, line := range strings.Split(string(status), "\n") {
			name, value, _ := strings.Cut(line, ":")
			switch name {
			case "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp":
				say("%s %s", name, strings.Join(strings.Fields(value), " "))
			}
		}
		for _, e := range os.Environ() {
			say("env %s", e)
		}
		// By number, not by reading the directory, which would show itself. The
		// runtime opens its own from 5 on, all closed on exec.
		for fd := range 64 {
			to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
			flags, ferr := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err == nil && ferr == nil && flags&unix.FD_CLOEXEC == 0 {
				kind, _, _ := strings.Cut(to, ":")
				say("fd %d %s", fd, kind)
			}
		}
		dir, _ := os.Getwd()
		say("dir %s", dir)
		pgid, _ := unix.Getpgid(0)
		sid, _ := unix.Getsid(0)
		say("own session %v", pgid == os.Getpid() && sid == os.Getpid())
		var core unix.Rlimit
		_ = unix.Getrlimit(unix.RLIMIT_CORE, &core)
		say("core %d", core.Max)
	case "read":
		_, err := os.ReadFile(args[1])
		result(err)
	case "write":
		result(os.WriteFile(args[1], []byte("x"), 0o600))
	case "dial":
		c, err := net.DialTimeout("tcp", args[1], 2*time.Second)
		if err == nil {
			_ = c.Close()
		}
		result(err)
	case "udp":
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err == nil {
			_ = unix.Close(fd)
		}
		result(err)
	case "unshare":
		result(unix.Unshare(unix.CLONE_NEWUSER))
	case "kill":
		var pid int
		_, _ = fmt.Sscan(args[1], &pid)
		result(unix.Kill(pid, 0))
	case "alloc":
		var all [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			all = append(all, b)
			_ = all
		}
	case "fork":
		for n := 0; ; n++ {
			c := exec.Command("/proc/self/exe", "sleep")
			c.Args[0] = "program"
			if err := c.Start(); err != nil {
				say("refused after %d: %v", n, err)
				break
			}
		}
	case "sleep":
		time.Sleep(time.Hour)
	case "open":
		for n := 0; ; n++ {
			if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
				say("refused after %d: %v", n, err)
				break
			}
			if n == 1<<17 {
				say("possible")
				break
			}
		}
	case "fill":
		f, err := os.Create(filepath.Join(os.Getenv("TMPDIR"), "big"))
		for err == nil {
			_, err = f.Write(make([]byte, 1<<20))
		}
		result(err)
	case "escape": // a descendant that leaves the session holds a lock file open
		c := exec.Command("/proc/self/exe", "sleep")
		c.Args[0] = "program"
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			say("refused: %v", err)
		} else {
			say("pid %d", c.Process.Pid)
		}
	case "digest":
		f, err := os.Open("/proc/self/exe")
		if err != nil {
			say("refused: %v", err)
			break
		}
		h := sha256.New()
		_, _ = io.Copy(h, f)
		say("digest %s", hex.EncodeToString(h.Sum(nil)))
	case "exit":
		say("done")
		os.Exit(3)
	}
	say("done")
}

// needRoot ends a test that needs root where it is not: loudly, and as a failure
// under CI=true.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this test needs root")
	}
	t.Skip("*** NOT ROOT: what only root's spawner does is left out")
}

// bench is a spawner with a client.
type bench struct {
	t *testing.T
	*client.Client
	s       *Spawner
	user    *User
	dir     string // of all below
	plugins string
	exe     string // an executable in plugins
	digest  string
	end     func() // of the client and all that it started
}

// newBench starts a spawner; as root its processes run as nobody.
func newBench(t *testing.T, lines ...string) *bench {
	t.Helper()
	b := &bench{t: t}
	var err error
	if b.user, err = Caller(); os.Geteuid() == 0 {
		b.user, err = Lookup("nobody")
	}
	if err != nil {
		t.Fatal(err)
	}
	p := policy.Default(os.Geteuid() == 0, b.user.Name)
	if len(lines) > 0 {
		if p, err = policy.Load("", lines, os.Geteuid() == 0, b.user.Name); err != nil {
			t.Fatal(err)
		}
	}
	if b.s, err = New(Options{Policy: p, Self: "/proc/self/exe", User: b.user}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.s.Close(); err != nil {
			t.Error(err)
		}
	})
	// The directories of a test are the tester's; others pass through these.
	if b.dir, err = os.MkdirTemp("", "spawner"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(b.dir) })
	b.plugins = filepath.Join(b.dir, "plugins")
	if err := errors.Join(os.Chmod(b.dir, 0o755), os.Mkdir(b.plugins, 0o755)); err != nil {
		t.Fatal(err)
	}
	b.exe = filepath.Join(b.plugins, "program")
	b.digest = copySelf(t, b.exe, "")
	b.connect()
	return b
}

// copySelf makes an executable of this test, with a mark at its end.
func copySelf(t *testing.T, to, mark string) (digest string) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		data = append(data, mark...)
		err = os.WriteFile(to, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// connect is a manager's beginning.
func (b *bench) connect() {
	b.t.Helper()
	a, c, err := conns()
	if err != nil {
		b.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.s.Serve(context.Background(), c) }()
	client := client.Connect(a)
	b.Client = client
	ended := false
	b.end = func() {
		if ended {
			return
		}
		ended = true
		_ = client.Close()
		if err := <-served; err != nil {
			b.t.Error(err)
		}
	}
	b.t.Cleanup(b.end)
	if _, _, err := b.Hello(b.ctx(), spawner.Hello{StateDir: filepath.Join(b.dir, "state"), PluginDir: b.plugins}); err != nil {
		b.t.Fatal(err)
	}
}

// conns are the two ends of a manager's connection.
func conns() (a, b *net.UnixConn, err error) {
	a, theirs, err := half()
	if err != nil {
		return nil, nil, err
	}
	b, err = spawner.Conn(theirs)
	return a, b, err
}

func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	b.t.Cleanup(cancel)
	return ctx
}

// start starts the program with arguments.
func (b *bench) start(s spawner.Start, args ...string) (*client.Process, error) {
	b.t.Helper()
	f, err := os.Open(b.exe)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	return b.startFile(f, s, args...)
}

func (b *bench) startFile(f *os.File, s spawner.Start, args ...string) (*client.Process, error) {
	b.t.Helper()
	dir, err := b.Dir(b.ctx(), s.User)
	if err != nil {
		return nil, err
	}
	s.Argv, s.Dir = append([]string{"program"}, args...), dir
	s.Env = append(s.Env, "TMPDIR="+dir)
	p, err := b.Start(b.ctx(), s, f)
	if err == nil {
		b.t.Cleanup(p.Close)
	}
	return p, err
}

// end is how a program ended, and what that says.
type end struct {
	spawner.Exit
	Why string
}

// run runs the program to its end and returns what it said before "done".
func (b *bench) run(s spawner.Start, args ...string) (said []string, x end) {
	b.t.Helper()
	p, err := b.start(s, args...)
	if err != nil {
		b.t.Fatalf("%v: %v", args, err)
	}
	return b.finish(p)
}

func (b *bench) finish(p *client.Process) (said []string, x end) {
	b.t.Helper()
	go func() { _, _ = io.Copy(io.Discard, p.Stderr) }() // ends with the pipe
	lines := bufio.NewScanner(p.Stdout)
	for lines.Scan() && lines.Text() != "done" {
		said = append(said, lines.Text())
	}
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		b.t.Fatalf("the program did not end; it said %q", said)
	}
	return said, end{p.Exit(), p.Why()}
}

// says runs the program and wants its one line to contain something.
func (b *bench) says(want string, s spawner.Start, args ...string) {
	b.t.Helper()
	said, x := b.run(s, args...)
	if len(said) != 1 || !strings.Contains(said[0], want) {
		b.t.Errorf("%v says %q and ends with %+v; want %q", args, said, x, want)
	}
}

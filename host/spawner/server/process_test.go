package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/cgroup"
	"github.com/pluginhost/host/host/spawner/child"
)

// A program has the descriptors, the environment and the rights that are in this
// list, and nothing else.
func TestProgramHasNothingElse(t *testing.T) {
	b := newBench(t)
	said, x := b.run(spawner.Start{Digest: b.digest, Env: []string{"ONE=1"}}, "show")
	seccomp := 0
	if child.Filters() {
		seccomp = 2
	}
	groups := make([]string, 0, len(b.user.Groups))
	for _, g := range b.user.Groups {
		groups = append(groups, fmt.Sprint(g))
	}
	id := func(n uint32) string { return strings.TrimSpace(strings.Repeat(fmt.Sprint(n)+" ", 4)) }
	want := []string{
		"Uid " + id(b.user.UID), "Gid " + id(b.user.GID), "Groups " + strings.Join(groups, " "),
		"CapInh 0000000000000000", "CapPrm 0000000000000000", "CapEff 0000000000000000", "CapAmb 0000000000000000",
		"NoNewPrivs 1", fmt.Sprintf("Seccomp %d", seccomp),
		"env ONE=1", "env TMPDIR=",
		"fd 0 /dev/null", "fd 1 pipe", "fd 2 pipe", "fd 3 socket", "fd 4 socket",
		"dir /", "own session true", "core 0",
	}
	for n := range said {
		said[n] = strings.TrimSpace(said[n])
		if strings.HasPrefix(said[n], "env TMPDIR="+b.s.base) {
			said[n] = "env TMPDIR="
		}
		if strings.HasPrefix(said[n], "Groups") && !b.s.root {
			want[2] = said[n] // the caller's own
		}
	}
	want[2] = strings.TrimSpace(want[2])
	if !slices.Equal(said, want) || x.Code != 0 {
		t.Errorf("exit %+v; the program has\n%s\nwant\n%s", x, strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
}

func TestExit(t *testing.T) {
	b := newBench(t)
	if _, x := b.run(spawner.Start{}, "exit"); x.Code != 3 || x.Signal != 0 {
		t.Errorf("%+v", x)
	}
	p, err := b.start(spawner.Start{}, "sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(b.ctx(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, x := b.finish(p); x.Code != -1 || x.Signal != int64(unix.SIGKILL) || x.Why != "" {
		t.Errorf("%+v", x)
	}
	dirs, _ := os.ReadDir(b.s.base)
	if len(dirs) > 0 {
		t.Errorf("left behind: %v", dirs)
	}
}

// Each of these is kept inside, and its end says by what.
func TestContained(t *testing.T) {
	b := newBench(t)
	secret := filepath.Join(b.dir, "state", "instances", "other", "secret")
	b.run(spawner.Start{State: "other"}, "write", secret)
	if _, err := os.Stat(secret); err != nil {
		t.Fatalf("a plugin's own state: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if child.LandlockABI() > 0 {
		b.says("permission denied", spawner.Start{State: "one"}, "read", secret)
		b.says("permission denied", spawner.Start{State: "one"}, "write", secret)
		b.says("permission denied", spawner.Start{State: "one"}, "write", "/tmp/a-plugin-was-here")
		b.says("possible", spawner.Start{State: "other"}, "read", secret)
	}
	// The state of plugins of another user is out of reach whatever the kernel has.
	if child.LandlockABI() >= 6 {
		b.says("not permitted", spawner.Start{}, "kill", strconv.Itoa(os.Getpid()))
	}
	if child.Filters() {
		b.says("permission denied", spawner.Start{}, "dial", listener.Addr().String())
		b.says("permission denied", spawner.Start{}, "udp")
		b.says("not permitted", spawner.Start{Network: true}, "unshare")
	}
	b.says("possible", spawner.Start{Network: true}, "dial", listener.Addr().String())
	b.says("too many open files", spawner.Start{Files: 64}, "open")
	b.says("too many open files", spawner.Start{}, "open")

	_, x := b.run(spawner.Start{FileSize: 4 << 20}, "fill")
	if x.Signal != int64(unix.SIGXFSZ) && x.Code != 0 || x.Signal == int64(unix.SIGXFSZ) && !strings.Contains(x.Why, "file_size") {
		t.Errorf("a file beyond its size: %+v", x)
	}
	for _, c := range []struct {
		controller, mode, why string
		start                 spawner.Start
	}{
		{cgroup.Memory, "alloc", "memory limit of 64 MiB", spawner.Start{Memory: 64 << 20}},
		{cgroup.Pids, "fork", "limit of 40 processes", spawner.Start{Procs: 40}},
		{cgroup.Pids, "fork", "limit of 1024 processes", spawner.Start{}}, // without a word
	} {
		if why := b.s.groups.Lacks(c.controller); why != "" {
			t.Logf("*** NO %s CGROUP (%s): its limit is not tried", c.controller, why)
			c.start.Require = []string{map[string]string{cgroup.Memory: "memory", cgroup.Pids: "processes"}[c.controller]}
			if _, err := b.start(c.start, "exit"); err == nil || !strings.Contains(err.Error(), "required") {
				t.Errorf("required and not to be had: %v", err)
			}
			continue
		}
		p, err := b.start(c.start, c.mode)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Missing) > 0 {
			t.Errorf("%s: missing %v", c.mode, p.Missing)
		}
		said, x := b.finish(p)
		if !strings.Contains(x.Why, c.why) {
			t.Errorf("%s: said %q, ended with %+v; want %q", c.mode, said, x, c.why)
		}
	}
}

// Whoever leaves the process group is ended with it all the same.
func TestNobodyEscapes(t *testing.T) {
	b := newBench(t)
	if b.s.groups.Lacks(cgroup.Pids) != "" && b.s.groups.Lacks(cgroup.Memory) != "" {
		t.Log("*** NO CGROUP: a process that leaves its session is found by nobody")
		return
	}
	said, _ := b.run(spawner.Start{}, "escape")
	if len(said) != 1 || !strings.HasPrefix(said[0], "pid ") {
		t.Fatalf("it said %q", said)
	}
	pid, _ := strconv.Atoi(strings.TrimPrefix(said[0], "pid "))
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		if time.Now().After(end) {
			t.Fatal("it lives on")
		}
	}
}

// What runs always has the digest that it was started under, whatever happens to
// its path and its content meanwhile.
func TestSwappedExecutable(t *testing.T) {
	b := newBench(t)
	other := filepath.Join(b.plugins, "other")
	otherDigest := copySelf(t, other, "other")
	written := filepath.Join(b.plugins, "written")
	copySelf(t, written, "")
	good, err := os.ReadFile(b.exe)
	if err != nil {
		t.Fatal(err)
	}
	bad, _ := os.ReadFile(other)
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() { // paths change places
		for range *swaps {
			if err := unix.Renameat2(unix.AT_FDCWD, b.exe, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(200 * time.Microsecond)
		}
		close(stop)
	})
	swapping.Go(func() { // content changes in place, which nobody should do
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				_ = os.WriteFile(written, [][]byte{bad, good}[n%2], 0o755) // busy while it runs
			}
		}
	})
	ran, refused := 0, 0
	for n := 0; ; n++ {
		want := []string{b.digest, otherDigest}[n%2]
		path := []string{b.exe, written}[n/2%2]
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.startFile(f, spawner.Start{Digest: want}, "digest")
		_ = f.Close()
		var e *spawner.Error
		if err != nil {
			if !errors.As(err, &e) || e.Kind != spawner.Refused && !strings.Contains(e.Message, "text file busy") {
				t.Fatal(err)
			}
			refused++
		} else {
			if said, x := b.finish(p); len(said) != 1 || said[0] != "digest "+want {
				t.Fatalf("asked for %.12s, and %q runs (%+v)", want, said, x)
			}
			ran++
		}
		select {
		case <-stop:
			swapping.Wait()
			t.Logf("%d swaps, %d ran, %d refused", *swaps, ran, refused)
			if ran == 0 || refused == 0 {
				t.Error("one of the two never happened")
			}
			return
		default:
		}
	}
}

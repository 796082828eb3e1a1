package host_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/spawner/client"
	"github.com/pluginhost/host/host/spawner/policy"
	"github.com/pluginhost/host/host/spawner/server"
	"github.com/pluginhost/host/host/spawner/supervise"
)

// Who is killed at an arrow.
const (
	alone      = "alone"   // the daemon, where the spawner is a part of it
	theManager = "manager" // of a daemon of two processes, as host run is
	theSpawner = "spawner"
	both       = "both"
)

// atTheArrow is said by a manager that waits for the end of its spawner.
const atTheArrow = "at the arrow"

// serveDaemon is the test binary as a daemon of its own, on the directory that
// HOST_TEST_DAEMON names. HOST_TEST_FORM says who is killed, and with that how
// many processes it has; HOST_TEST_ARROW when: at the n-th time of an arrow,
// arrow@n, for each life of the manager, with commas between.
func serveDaemon() int {
	conn, _, err := client.Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	victim := os.Getenv("HOST_TEST_FORM")
	if conn == nil {
		go func() { // the end of the input asks it to stop
			_, _ = bufio.NewReader(os.Stdin).ReadByte()
			_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		}()
		if victim != alone {
			return serveSpawner()
		}
	}
	spec, _, _ := strings.Cut(os.Getenv("HOST_TEST_ARROW"), ",")
	arrow, times, _ := strings.Cut(spec, "@")
	n, _ := strconv.Atoi(times)
	var mu sync.Mutex
	o := host.Options{
		Source: config.Source{Dir: os.Getenv("HOST_TEST_DAEMON"), Env: os.Environ()}, Version: "test", Self: "/proc/self/exe", Stdout: os.Stderr,
		Log: hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: os.Stderr}),
		Arrow: func(name string) {
			mu.Lock()
			defer mu.Unlock()
			if name != arrow {
				return
			}
			if n--; n != 0 {
				return
			}
			if victim == theSpawner || victim == both { // which only the test may do
				parent := os.Getppid()
				fmt.Println(atTheArrow)
				for os.Getppid() == parent {
					time.Sleep(time.Millisecond)
				}
			}
			if victim != theSpawner { // whose manager goes on as long as it can
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		},
		Ready: func(socket string) { fmt.Println(socket) }, Notify: true,
	}
	if conn != nil {
		o.Spawner = client.Connect(conn)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := host.Run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, describe(err))
		return 1
	}
	return 0
}

// serveSpawner is the outer process of a daemon of two, as host run is. As root
// the manager and the plugins are nobody.
func serveSpawner() int {
	u, err := server.Caller()
	if os.Geteuid() == 0 {
		u, err = server.Lookup("nobody")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code, err := supervise.Run(supervise.Options{
		Argv: os.Args, Self: "/proc/self/exe", User: u,
		Policy: func() (*policy.Policy, error) { return policy.Default(os.Geteuid() == 0, u.Name), nil },
		Log: func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, format+"\n", args...)
			if strings.Contains(format, "starting it again") { // for its next life
				_, next, _ := strings.Cut(os.Getenv("HOST_TEST_ARROW"), ",")
				_ = os.Setenv("HOST_TEST_ARROW", next)
			}
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// process is a daemon in one process of its own, or in two.
type process struct {
	*control.Client
	dir    string
	cmd    *exec.Cmd
	stdin  *os.File
	log    *buffer
	socket string        // empty when it ended before it was ready
	lines  chan string   // a socket for each manager that is ready; closed at the end
	ended  chan struct{} // closed when it has been reaped
}

// spawn starts one of one process and waits until it is ready or has ended.
func spawn(t *testing.T, dir, arrow string, env ...string) *process {
	t.Helper()
	return spawnAs(t, alone, dir, arrow, env...)
}

// spawnAs starts one in a form.
func spawnAs(t *testing.T, form, dir, arrow string, env ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The directory among the arguments is what nothingRuns finds.
	p := &process{dir: dir, cmd: exec.Command(exe, dir), log: &buffer{}, lines: make(chan string, 16), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "HOST_TEST_DAEMON="+dir, "HOST_TEST_FORM="+form, "HOST_TEST_ARROW="+arrow)
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = p.log
	in, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdin, p.stdin = in, stdin
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			if s.Text() == atTheArrow {
				_ = p.cmd.Process.Kill()
				continue
			}
			p.lines <- s.Text()
		}
		close(p.lines)
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	p.ready(t)
	return p
}

// lend makes a directory one for a daemon of two processes: as root another user
// runs in it, and makes sockets.
func lend(t *testing.T, dir string) {
	t.Helper()
	err := os.Chmod(dir, 0o755)
	if err == nil && os.Geteuid() == 0 {
		var u *server.User
		if u, err = server.Lookup("nobody"); err == nil {
			err = os.Chown(dir, int(u.UID), int(u.GID))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// forms runs a test with a daemon in this process, and with one of two processes.
func forms(t *testing.T, hcl string, test func(t *testing.T, d *daemon, p *process), plugins ...string) {
	t.Run("embedded", func(t *testing.T) { test(t, run(t, setup(t, hcl, plugins...)), nil) })
	t.Run("two processes", func(t *testing.T) {
		dir := setup(t, hcl, plugins...)
		lend(t, dir)
		p := spawnAs(t, theManager, dir, "")
		if p.Client == nil {
			t.Fatal(p.log)
		}
		d := &daemon{Client: p.Client, t: t, dir: dir, stdout: p.log, log: p.log}
		t.Cleanup(func() {
			_ = p.stdin.Close()
			p.wait(t)
			if !p.cmd.ProcessState.Success() {
				t.Errorf("the daemon ended with %s", p.cmd.ProcessState)
			}
			if t.Failed() {
				t.Logf("log of the daemon:\n%s", p.log)
			}
		})
		test(t, d, p)
	})
}

// ready waits until a manager is ready, or the daemon has ended.
func (p *process) ready(t *testing.T) {
	t.Helper()
	select {
	case p.socket = <-p.lines:
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		t.Fatalf("the daemon is neither ready nor does it end:\n%s", p.log)
	}
	if p.Client != nil {
		p.Close()
		p.Client = nil
	}
	if p.socket == "" {
		return
	}
	var err error
	if p.Client, err = control.Dial("unix://" + p.socket); err != nil {
		t.Fatal(err)
	}
}

// wait waits for the end.
func (p *process) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		t.Fatalf("the daemon does not end:\n%s", p.log)
	}
	_ = p.stdin.Close()
	if p.Client != nil {
		p.Close()
	}
}

// manager returns the process that answers.
func (p *process) manager(t *testing.T) int {
	t.Helper()
	s, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Pid
}

// onlyRuns waits until the processes of a daemon are itself and those that its
// status names.
func (p *process) onlyRuns(t *testing.T, what string) {
	t.Helper()
	var left map[int]string
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s, err := p.Status(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		left = running(p.dir)
		missing := false
		wanted := []int{p.cmd.Process.Pid, s.Pid}
		for _, i := range s.Instances {
			wanted = append(wanted, i.Pid)
		}
		for _, pid := range slices.Compact(slices.Sorted(slices.Values(wanted))) {
			_, there := left[pid]
			missing = missing || !there
			delete(left, pid)
		}
		switch {
		case missing:
			t.Fatalf("%s: of %v not all run: the check for orphans is blind", what, wanted)
		case len(left) == 0:
			return
		case time.Now().After(end):
			t.Fatalf("%s: still run: %v", what, left)
		}
	}
}

// nothingRuns waits until no process of a directory is left.
func nothingRuns(t *testing.T, what, dir string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		left := running(dir)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: still run: %v", what, left)
		}
	}
}

// running finds the processes of a directory by their arguments and environment.
func running(dir string) map[int]string {
	found := map[int]string{}
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		env, _ := os.ReadFile(filepath.Join(proc, "environ"))
		cmd, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		if bytes.Contains(env, []byte(dir)) || bytes.Contains(cmd, []byte(dir)) {
			pid, _ := strconv.Atoi(filepath.Base(proc))
			found[pid] = string(cmd)
		}
	}
	return found
}

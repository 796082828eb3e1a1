package host_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/generation"
)

// serveDaemon is the test binary as a daemon of its own, on the directory that
// HOST_TEST_DAEMON names. It kills itself at the n-th time of an arrow that
// HOST_TEST_ARROW names as arrow@n.
func serveDaemon() int {
	arrow, times, _ := strings.Cut(os.Getenv("HOST_TEST_ARROW"), "@")
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
			if n--; n == 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		},
		Ready: func(socket string) { fmt.Println(socket) }, Notify: true,
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() { // the end of the input asks it to stop
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		stop()
	}()
	if err := host.Run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, describe(err))
		return 1
	}
	return 0
}

// process is a daemon in a process of its own.
type process struct {
	*control.Client
	cmd    *exec.Cmd
	stdin  *os.File
	log    *buffer
	socket string        // empty when it ended before it was ready
	ended  chan struct{} // closed when it has been reaped
}

// spawn starts one and waits until it is ready or has ended.
func spawn(t *testing.T, dir, arrow string, env ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(exe), log: &buffer{}, ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "HOST_TEST_DAEMON="+dir, "HOST_TEST_ARROW="+arrow)
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
	line := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		s, _ := r.ReadString('\n')
		line <- strings.TrimSpace(s)
		_, _ = r.WriteTo(p.log)
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	select {
	case p.socket = <-line:
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		t.Fatalf("the daemon is neither ready nor does it end:\n%s", p.log)
	}
	if p.socket != "" {
		if p.Client, err = control.Dial("unix://" + p.socket); err != nil {
			t.Fatal(err)
		}
	}
	return p
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

// faults says how many runs, and from which seed.
func faults(t *testing.T) (count int, seed uint64) {
	count, seed = 24, rand.Uint64()
	if s := os.Getenv("FAULT_RUNS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		count = n
	}
	if s := os.Getenv("FAULT_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	return count, seed
}

// arrows are all transitions; those of a boot come first.
var arrows = []string{"load", "plan", "reserve", "verify", "prepare", "commit", "recorded", "routes", "gates", "drain", "drained"}

// Ended with SIGKILL at any arrow of a reload or a return, and again at any
// arrow of the start after it, the daemon comes up with the old or the new
// generation, as its record says, never with a mixture. Nothing is left behind.
// FAULT_RUNS and FAULT_SEED choose how many and which.
func TestKilledAtEveryArrow(t *testing.T) {
	count, seed := faults(t)
	t.Logf("%d runs, FAULT_SEED=%d", count, seed)
	plugin := filepath.Join(t.TempDir(), "probe-1.0.0")
	copyProbe(t, plugin)
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for n := range count {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			killedOnce(t, rand.New(rand.NewPCG(seed, uint64(n))), n, plugin)
		})
	}
}

func copyProbe(t *testing.T, to string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// world is one configuration with what can be seen of it.
type world struct {
	hcl       string
	addresses []string
	answers   map[string]string // listener → what it says
	emit      string            // what probe.a.said is answered with
}

func killedOnce(t *testing.T, r *rand.Rand, n int, plugin string) {
	dir := setup(t, "")
	if err := os.Link(plugin, filepath.Join(dir, "plugins", "probe-1.0.0")); err != nil {
		copyProbe(t, filepath.Join(dir, "plugins", "probe-1.0.0"))
	}
	kept, old, fresh := freePort(t), freePort(t), filepath.Join(dir, "new.sock")
	conf := func(prefix, extra, route string) string {
		return fmt.Sprintf(`
plugin "probe" "a" { process = { isolation = "instance" } }
plugin "probe" "kept" {
  prefix = %q
  listen = "tcp://127.0.0.1:%d"
}
%s
route "r" {
  from = probe.a.said
  to   = probe.%s.echo
}
`, prefix, kept, extra, route)
	}
	one := world{
		hcl: conf("one", fmt.Sprintf(`
plugin "probe" "leaves" {
  prefix = "leaves"
  listen = "tcp://127.0.0.1:%d"
}`, old), "leaves"),
		addresses: []string{"probe.a", "probe.kept", "probe.leaves"},
		answers:   map[string]string{fmt.Sprint("tcp ", kept): "one", fmt.Sprint("tcp ", old): "leaves"},
		emit:      "leaves",
	}
	two := world{
		hcl: conf("two", fmt.Sprintf(`
plugin "probe" "comes" {
  prefix = "comes"
  listen = "unix://%s"
  process { isolation = "instance" }
}`, fresh), "comes"),
		addresses: []string{"probe.a", "probe.comes", "probe.kept"},
		answers:   map[string]string{fmt.Sprint("tcp ", kept): "two", "unix " + fresh: "comes"},
		emit:      "comes",
	}

	// Every arrow has its turn; the rest is by chance.
	arrow := arrows[n%len(arrows)]
	back := r.IntN(2) == 0 // a return instead of a reload
	outside := r.IntN(4) == 0
	again := arrows[r.IntN(slices.Index(arrows, "drain"))]
	what := fmt.Sprintf("killed at %s of a %s, then at %s of the start", arrow, map[bool]string{false: "reload", true: "return"}[back], again)
	times := 2 // the boot was the first
	if arrow == "drain" || arrow == "drained" {
		times = 1
	}
	if back {
		times++
	}
	spec := fmt.Sprintf("%s@%d", arrow, times)
	if outside {
		spec = ""
		what = strings.Replace(what, "at "+arrow, "from outside", 1)
	}

	write(t, filepath.Join(dir, "host.hcl"), one.hcl)
	p := spawn(t, dir, spec)
	if p.Client == nil {
		t.Fatalf("%s: it did not start\n%s", what, p.log)
	}
	write(t, filepath.Join(dir, "host.hcl"), two.hcl)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if back {
		if res, err := p.Reload(ctx, apply.Request{Wait: true}, nil); err != nil || res.Outcome != apply.Committed {
			t.Fatalf("%s: the reload before: %+v %v\n%s", what, res, err, p.log)
		}
	}
	if outside {
		time.AfterFunc(time.Duration(r.IntN(80))*time.Millisecond, func() { _ = p.cmd.Process.Kill() })
	}
	_, _ = p.Reload(ctx, apply.Request{Return: back}, nil) // it dies meanwhile
	p.wait(t)
	nothingRuns(t, what, dir)
	wants := two
	if back && last(t, dir).From == 1 {
		wants = one
	}
	if !back && !outside {
		// What the record says is what the arrow says.
		committed := slices.Index(arrows, arrow) >= slices.Index(arrows, "recorded")
		if g := last(t, dir).Generation; (g == 2) != committed {
			t.Fatalf("%s: generation %d is recorded", what, g)
		}
	}

	p = spawn(t, dir, again+"@1")
	p.wait(t)
	nothingRuns(t, what, dir)

	p = spawn(t, dir, "")
	if p.Client == nil {
		t.Fatalf("%s: it does not come up again\n%s", what, p.log)
	}
	serves(t, what, p, wants)
	g, err := p.Generations(ctx)
	if err != nil {
		t.Fatal(err)
	}
	open := 0
	for _, a := range g.Attempts {
		if a.Outcome == "" {
			open++
		}
	}
	if open > 0 {
		t.Errorf("%s: attempts without an end: %+v", what, g.Attempts)
	}
	_ = p.stdin.Close()
	p.wait(t)
	if !p.cmd.ProcessState.Success() {
		t.Errorf("%s: it ended with %s\n%s", what, p.cmd.ProcessState, p.log)
	}
	nothingRuns(t, what, dir)
	nothingStays(t, what, dir, kept, old)
	if t.Failed() {
		t.Logf("the last log:\n%s", p.log)
	}
}

// Killed while a generation waits for its confirmation, the daemon comes up
// with it and goes on waiting, and returns when nobody confirms.
func TestKilledOnProbation(t *testing.T) {
	conf := func(prefix string) string {
		return fmt.Sprintf("plugin \"probe\" \"a\" { prefix = %q }\nroute \"r\" {\n  from = probe.a.said\n  to = probe.a.echo\n}\n", prefix)
	}
	dir := setup(t, conf("one"), "probe-1.0.0")
	p := spawn(t, dir, "")
	if p.Client == nil {
		t.Fatal(p.log)
	}
	write(t, filepath.Join(dir, "host.hcl"), conf("two"))
	r, err := p.Reload(t.Context(), apply.Request{Confirm: 20 * time.Second}, nil)
	if err != nil || r.Outcome != apply.Committed || r.Confirm == nil {
		t.Fatalf("%+v %v", r, err)
	}
	_ = p.cmd.Process.Kill()
	p.wait(t)
	nothingRuns(t, "killed on probation", dir)

	// Another daemon has no business here meanwhile; the files are of no matter.
	write(t, filepath.Join(dir, "host.hcl"), conf("three"))
	p = spawn(t, dir, "")
	if p.Client == nil {
		t.Fatal(p.log)
	}
	other := spawn(t, dir, "")
	if other.Client == nil {
		other.wait(t) // what it says comes at its end
	}
	if other.Client != nil || !strings.Contains(other.log.String(), fmt.Sprintf("pid %d", p.cmd.Process.Pid)) {
		t.Errorf("two daemons on one state directory: %s", other.log)
	}
	serves(t, "on probation", p, world{addresses: []string{"probe.a"}, emit: "two"})
	s, err := p.Status(t.Context())
	if err != nil || s.Generation != 2 || s.Confirm == nil || s.Confirm.Back != 1 {
		t.Errorf("the status: %+v, %v", s, err)
	}
	until(t, "it returns by itself", func() bool {
		s, err := p.Status(t.Context())
		return err == nil && s.Generation == 3 && s.Confirm == nil
	})
	serves(t, "after the return", p, world{addresses: []string{"probe.a"}, emit: "one"})
	_ = p.stdin.Close()
	p.wait(t)
}

// last reads the record of a daemon that has ended.
func last(t *testing.T, dir string) generation.Record {
	t.Helper()
	s, err := generation.Open(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	r, _ := s.Last()
	return r
}

// serves checks that a daemon serves one configuration whole.
func serves(t *testing.T, what string, p *process, w world) {
	t.Helper()
	s, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for _, i := range s.Instances {
		addresses = append(addresses, i.Address)
		if i.State != "ready" {
			t.Errorf("%s: %s is %s: %s", what, i.Address, i.State, i.Reason)
		}
	}
	if !slices.Equal(addresses, w.addresses) {
		t.Errorf("%s: %v are there, want %v", what, addresses, w.addresses)
	}
	for at, want := range w.answers {
		network, address, _ := strings.Cut(at, " ")
		if network == "tcp" {
			address = "127.0.0.1:" + address
		}
		got, err := askAt(network, address)
		if err != nil || got != want {
			t.Errorf("%s: %s says %q, %v; want %q", what, at, got, err, want)
		}
	}
	r, err := p.Emit(t.Context(), control.EmitRequest{Type: "probe.a.said", Data: []byte(`{"text":""}`), Timeout: 20 * time.Second})
	if err != nil || r.Err != nil || !bytes.Contains(r.Value, []byte(`"`+w.emit+`"`)) {
		t.Errorf("%s: an event is answered with %s %v %v, want %q", what, r.Value, r.Err, err, w.emit)
	}
}

func askAt(network, address string) (string, error) {
	c, err := net.DialTimeout(network, address, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	var b bytes.Buffer
	_, err = b.ReadFrom(c)
	return b.String(), err
}

// nothingRuns waits until no process of a directory is left.
func nothingRuns(t *testing.T, what, dir string) {
	t.Helper()
	var left []string
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		left = left[:0]
		procs, _ := filepath.Glob("/proc/[0-9]*")
		for _, proc := range procs {
			env, _ := os.ReadFile(filepath.Join(proc, "environ"))
			cmd, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
			if bytes.Contains(env, []byte(dir)) || bytes.Contains(cmd, []byte(dir)) {
				left = append(left, proc+" "+string(cmd))
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: still run: %q", what, left)
		}
	}
}

// nothingStays looks for sockets and files that a daemon has left behind.
func nothingStays(t *testing.T, what, dir string, ports ...int) {
	t.Helper()
	for _, port := range ports {
		if got, err := askAt("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			t.Errorf("%s: port %d is still listened on, and says %q", what, port, got)
		}
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		switch {
		case d.Type() == os.ModeSocket:
			t.Errorf("%s: the socket %s is left", what, rel)
		case strings.HasPrefix(rel, "state/generations/.") || strings.HasSuffix(rel, ".tmp"):
			t.Errorf("%s: %s is left", what, rel)
		case strings.HasPrefix(rel, "state/run/p/"):
			t.Errorf("%s: %s is left", what, rel)
		}
		return nil
	})
}

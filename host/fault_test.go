package host_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/generation"
)

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
// Half of the runs are of a daemon of two processes, whose manager, spawner, or
// both are killed. FAULT_RUNS and FAULT_SEED choose how many and which.
func TestKilledAtEveryArrow(t *testing.T) {
	count, seed := faults(t)
	t.Logf("%d runs, FAULT_SEED=%d", count, seed)
	plugin := filepath.Join(t.TempDir(), "probe-1.0.0")
	copyProbe(t, plugin)
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for n := range count {
		// Every arrow has its turn with every form, for 6 and 11 have no divisor in common.
		form := []string{theManager, alone, theSpawner, alone, both, alone}[n%6]
		t.Run(fmt.Sprint(n, form), func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			killedOnce(t, rand.New(rand.NewPCG(seed, uint64(n))), form, arrows[n%len(arrows)], plugin)
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
	silent    []string          // listeners of the other
	emit      string            // what probe.a.said is answered with
}

// worlds are two configurations with a listener in common, and one that the
// other has not.
func worlds(t *testing.T, dir string) (one, two world, kept int) {
	t.Helper()
	kept = freePort(t)
	at, old, fresh := fmt.Sprint("tcp ", kept), fmt.Sprint("tcp ", freePort(t)), "unix "+filepath.Join(dir, "new.sock")
	conf := func(prefix, name, listen string) string {
		return fmt.Sprintf(`
plugin "probe" "a" { process = { isolation = "instance" } }
plugin "probe" "kept" {
  prefix = %q
  listen = "tcp://127.0.0.1:%d"
}
plugin "probe" %q {
  prefix = %[3]q
  listen = %q
  process { isolation = "instance" }
}
route "r" {
  from = probe.a.said
  to   = probe.%[3]s.echo
}
`, prefix, kept, name, listen)
	}
	_, port, _ := strings.Cut(old, " ")
	one = world{
		hcl:       conf("one", "leaves", "tcp://127.0.0.1:"+port),
		addresses: []string{"probe.a", "probe.kept", "probe.leaves"},
		answers:   map[string]string{at: "one", old: "leaves"},
		silent:    []string{fresh},
		emit:      "leaves",
	}
	two = world{
		hcl:       conf("two", "comes", "unix://"+strings.TrimPrefix(fresh, "unix ")),
		addresses: []string{"probe.a", "probe.comes", "probe.kept"},
		answers:   map[string]string{at: "two", fresh: "comes"},
		silent:    []string{old},
		emit:      "comes",
	}
	return one, two, kept
}

func killedOnce(t *testing.T, r *rand.Rand, form, arrow, plugin string) {
	dir := setup(t, "")
	if form != alone {
		lend(t, dir)
	}
	if err := os.Link(plugin, filepath.Join(dir, "plugins", "probe-1.0.0")); err != nil {
		copyProbe(t, filepath.Join(dir, "plugins", "probe-1.0.0"))
	}
	one, two, kept := worlds(t, dir)

	back := r.IntN(2) == 0 // a return instead of a reload
	outside := r.IntN(4) == 0
	again := arrows[r.IntN(slices.Index(arrows, "drain"))]
	what := fmt.Sprintf("%s killed at %s of a %s, then at %s of the start", form, arrow, map[bool]string{false: "reload", true: "return"}[back], again)
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
	if form == theManager { // its spawner starts the second one
		spec += "," + again + "@1"
	}

	write(t, filepath.Join(dir, "host.hcl"), one.hcl)
	p := spawnAs(t, form, dir, spec)
	if p.Client == nil {
		t.Fatalf("%s: it did not start\n%s", what, p.log)
	}
	defer func() {
		if t.Failed() {
			t.Logf("the last log:\n%s", p.log)
		}
	}()
	manager, socket := p.manager(t), inode(t, kept)
	write(t, filepath.Join(dir, "host.hcl"), two.hcl)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if back {
		if res, err := p.Reload(ctx, apply.Request{Wait: true}, nil); err != nil || res.Outcome != apply.Committed {
			t.Fatalf("%s: the reload before: %+v %v\n%s", what, res, err, p.log)
		}
	}
	if outside {
		time.AfterFunc(time.Duration(r.IntN(80))*time.Millisecond, func() {
			if form != theManager {
				_ = p.cmd.Process.Kill()
			}
			if form == theManager || form == both {
				_ = syscall.Kill(manager, syscall.SIGKILL)
			}
		})
	}
	_, _ = p.Reload(ctx, apply.Request{Return: back}, nil) // it dies meanwhile
	committed := slices.Index(arrows, arrow) >= slices.Index(arrows, "recorded")
	if form == theManager {
		p.ready(t)
		if p.Client == nil {
			t.Fatalf("%s: no manager comes up again\n%s", what, p.log)
		}
		if n := strings.Count(p.log.String(), "the manager crashed (signal SIGKILL)"); n != 2 {
			t.Errorf("%s: the manager crashed %d times", what, n)
		}
		if now := inode(t, kept); now != socket {
			t.Errorf("%s: the socket that both have changed from %s to %s", what, socket, now)
		}
	} else {
		p.wait(t)
		nothingRuns(t, what, dir)
		if g := last(t, dir).Generation; !back && !outside && form != theSpawner && (g == 2) != committed {
			t.Fatalf("%s: generation %d is recorded", what, g) // and not what the arrow says
		}
		p = spawnAs(t, form, dir, again+"@1")
		p.wait(t)
		nothingRuns(t, what, dir)
		p = spawnAs(t, form, dir, "")
		if p.Client == nil {
			t.Fatalf("%s: it does not come up again\n%s", what, p.log)
		}
	}

	g, err := p.Generations(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wants := two // which is on disk
	if back && slices.ContainsFunc(g.Kept, func(k control.Kept) bool { return k.From == 1 }) {
		wants = one
	}
	serves(t, what, p, wants)
	var asked []generation.Attempt
	for _, a := range g.Attempts {
		if a.Outcome == "" {
			t.Errorf("%s: an attempt has no end: %+v", what, a)
		}
		if a.Who.Command == "host reload" || a.Who.Command == "host rollback" {
			asked = append(asked, a)
		}
	}
	if !outside && form != theSpawner && slices.Index(arrows, arrow) >= slices.Index(arrows, "reserve") { // there is a trail, and it was cut there
		count, outcome := 1, generation.Killed
		if back {
			count = 2
		}
		if committed {
			outcome = string(apply.Committed)
		}
		if len(asked) != count || asked[count-1].Outcome != outcome {
			t.Errorf("%s: the trail has %+v, want %d, the last %s", what, asked, count, outcome)
		}
	}
	p.onlyRuns(t, what)
	_ = p.stdin.Close()
	p.wait(t)
	if !p.cmd.ProcessState.Success() {
		t.Errorf("%s: it ended with %s", what, p.cmd.ProcessState)
	}
	nothingRuns(t, what, dir)
	nothingStays(t, what, dir, one, two)
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
		got, err := answerAt(at)
		if err != nil || got != want {
			t.Errorf("%s: %s says %q, %v; want %q", what, at, got, err, want)
		}
	}
	for _, at := range w.silent {
		until(t, what+": nobody listens on "+at, func() bool {
			_, err := answerAt(at)
			return err != nil
		})
	}
	r, err := p.Emit(t.Context(), control.EmitRequest{Type: "probe.a.said", Data: []byte(`{"text":""}`), Timeout: 20 * time.Second})
	if err != nil || r.Err != nil || !bytes.Contains(r.Value, []byte(`"`+w.emit+`"`)) {
		t.Errorf("%s: an event is answered with %s %v %v, want %q", what, r.Value, r.Err, err, w.emit)
	}
}

// answerAt connects to a listener of a world.
func answerAt(at string) (string, error) {
	network, address, _ := strings.Cut(at, " ")
	if network == "tcp" {
		address = "127.0.0.1:" + address
	}
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

// nothingStays looks for sockets and files that a daemon has left behind.
func nothingStays(t *testing.T, what, dir string, of ...world) {
	t.Helper()
	for _, w := range of {
		for at := range w.answers {
			if got, err := answerAt(at); err == nil {
				t.Errorf("%s: %s is still listened on, and says %q", what, at, got)
			}
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

package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

const two = `
plugin "probe" "a" { prefix = "a:" }
plugin "probe" "b" { prefix = "b:" }
route "a-b" {
  from = probe.a.said
  to   = probe.b.echo
}
`

func TestEventsReachAnotherInstance(t *testing.T) {
	d := run(t, setup(t, two, "probe-1.0.0"))
	d.wants("probe.a.said", `{"text":"x"}`, "b:x")
	s := d.status()
	if s.Light != observe.Green || s.Generation != 1 || len(s.Instances) != 2 {
		t.Errorf("status: %+v", s)
	}
	if a, b := d.instance("probe.a"), d.instance("probe.b"); a.Pid != b.Pid || a.Pid == 0 {
		t.Errorf("two instances of one plugin run as %d and %d", a.Pid, b.Pid)
	}
	d.ledger()
	// What has run ends, and without a trace but the state.
	pid := d.instance("probe.a").Pid
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	until(t, "the plugin ends with the daemon", func() bool { return !alive(pid) })
}

func TestStoriesAreLinked(t *testing.T) {
	d := run(t, setup(t, `
plugin "probe" "a" {}
plugin "probe" "b" {}
plugin "probe" "c" { prefix = "c:" }
route "a-b" {
  from = probe.a.said
  to   = probe.b.say
}
route "b-c" {
  from = probe.b.said
  to   = probe.c.echo
}
`, "probe-1.0.0"))
	d.wants("probe.a.said", `{"text":"x"}`, "c:x")
	var seen []observe.Entry
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_ = d.Tail(ctx, 100, false, control.Filter{}, func(e observe.Entry) error {
		seen = append(seen, e)
		return nil
	})
	resolved := 0
	for _, e := range seen {
		if e.Step == observe.Resolved && strings.HasPrefix(e.Type, "probe.") {
			resolved++
		}
	}
	if resolved != 2 {
		t.Errorf("the recorder has %d resolved events, want 2: %+v", resolved, seen)
	}
}

func TestUnroutedIsRejected(t *testing.T) {
	d := run(t, setup(t, `plugin "probe" "a" {}`, "probe-1.0.0"))
	if r := d.emit("probe.a.said", `{"text":"x"}`); r.Err == nil || r.Err.Reason != wire.ReasonUnrouted {
		t.Errorf("an event without a route: %+v", r)
	}
	if _, err := d.Emit(t.Context(), control.EmitRequest{Type: "probe.a.sad"}); err == nil || !strings.Contains(err.Error(), "probe.a.said") {
		t.Errorf("an unknown event: %v", err)
	}
}

func TestRetriesUntilItWorks(t *testing.T) {
	d := run(t, setup(t, `
plugin "probe" "a" {}
plugin "probe" "b" { prefix = "b:" }
route "r" {
  from = probe.a.said
  to   = probe.b.fail
  delivery {
    attempts = 3
    backoff  = "1ms"
  }
}
`, "probe-1.0.0"))
	d.wants("probe.a.said", `{"text":"x","count":2}`, "b:x")
	r := d.emit("probe.a.said", `{"text":"y","count":99}`)
	if r.Err == nil || r.Err.Code != wire.Unavailable || r.Err.Instance != "probe.b" {
		t.Errorf("after three attempts: %+v", r.Err)
	}
	d.ledger()
}

func TestTimeout(t *testing.T) {
	d := run(t, setup(t, `
plugin "probe" "a" {}
plugin "probe" "b" {}
route "r" {
  from = probe.a.said
  to   = probe.b.hang
  delivery {
    timeout  = "50ms"
    attempts = 2
    backoff  = "1ms"
  }
}
`, "probe-1.0.0"))
	if r := d.emit("probe.a.said", `{"text":"x"}`); r.Err == nil || r.Err.Code != wire.DeadlineExceeded {
		t.Errorf("a handler that hangs: %+v", r)
	}
	d.ledger()
}

func TestWhenAndInput(t *testing.T) {
	d := run(t, setup(t, `
plugin "probe" "a" {}
plugin "probe" "b" { prefix = "b:" }
route "r" {
  from  = probe.a.said
  when  = event.data.count > 1
  to    = probe.b.echo
  input = { text = upper(event.data.text) }
}
`, "probe-1.0.0"))
	d.wants("probe.a.said", `{"text":"x","count":2}`, "b:X")
	if r := d.emit("probe.a.said", `{"text":"x","count":1}`); r.Err == nil || r.Err.Reason != wire.ReasonUnrouted {
		t.Errorf("an event that no route wants: %+v", r)
	}
}

// A plugin that is dropped in is offered without a restart, serves after a
// reload, and ends when the configuration does not want it any more.
func TestDropIn(t *testing.T) {
	d := run(t, setup(t, two, "probe-1.0.0"))
	before := d.instance("probe.a").Pid
	drop(t, d.dir, "probetwo-2.0.0")
	until(t, "the new plugin is offered", func() bool {
		e, ok := d.plugin("probetwo-2.0.0")
		return ok && e.State == catalog.Ready && e.Name == "probetwo" && e.Version == "2.0.0"
	})
	d.write("more.hcl", `
plugin "probetwo" "c" { prefix = "c:" }
route "c" {
  from = probe.b.said
  to   = probetwo.c.echo
}
`)
	r := d.must(apply.Committed)
	if r.Generation != 2 {
		t.Errorf("generation %d, want 2", r.Generation)
	}
	d.wants("probe.b.said", `{"text":"x"}`, "c:x")
	pid := d.instance("probetwo.c").Pid
	if pid == before || !alive(pid) {
		t.Errorf("probetwo.c runs as %d", pid)
	}
	if err := os.Remove(filepath.Join(d.dir, "more.hcl")); err != nil {
		t.Fatal(err)
	}
	d.must(apply.Committed)
	until(t, "the process that nobody wants ends", func() bool { return !alive(pid) })
	if now := d.instance("probe.a").Pid; now != before {
		t.Errorf("an instance that did not change moved from process %d to %d", before, now)
	}
	d.must(apply.Unchanged)
}

// Dropping a plugin in and reloading at once works too.
func TestDropInAndReload(t *testing.T) {
	d := run(t, setup(t, two, "probe-1.0.0"))
	drop(t, d.dir, "probetwo-2.0.0")
	d.write("more.hcl", `plugin "probetwo" "c" { prefix = "c:" }`)
	d.must(apply.Committed)
}

func TestUpgrade(t *testing.T) {
	d := run(t, setup(t, two, "probe-1.0.0"))
	old := d.instance("probe.b")
	drop(t, d.dir, "probe-1.1.0")
	d.must(apply.Committed)
	now := d.instance("probe.b")
	if now.Version != "1.1.0" || now.Pid == old.Pid {
		t.Errorf("after the upgrade: %+v", now)
	}
	d.wants("probe.a.said", `{"text":"x"}`, "b:x")
	until(t, "the old process ends", func() bool { return !alive(old.Pid) })
}

func TestRefusedReloadTouchesNothing(t *testing.T) {
	d := run(t, setup(t, two, "probe-1.0.0"))
	pid := d.instance("probe.a").Pid
	for _, tt := range []struct {
		hcl  string
		want apply.Outcome
		text string
	}{
		{`plugin "probe" "c" { prefx = "c:" }`, apply.Invalid, "prefix"},
		{`plugin "probe" "c" { refuse = "verify" }`, apply.RolledBack, "told to"},
		{`plugin "probe" "c" { refuse = "prepare" }`, apply.RolledBack, "told to refuse in prepare"},
		{`plugin "probe" "c" { listen = "tcp://192.0.2.1:1" }`, apply.RolledBack, "192.0.2.1"},
	} {
		d.write("more.hcl", tt.hcl)
		r := d.must(tt.want)
		var b strings.Builder
		r.Diagnostics.WriteText(&b, false)
		if !strings.Contains(b.String(), tt.text) || !strings.Contains(b.String(), "more.hcl:1") {
			t.Errorf("%s: the diagnostics do not say what and where:\n%s", tt.hcl, b.String())
		}
		d.wants("probe.a.said", `{"text":"x"}`, "b:x")
		s := d.status()
		if s.Generation != 1 || len(s.Instances) != 2 || s.Instances[0].Pid != pid {
			t.Errorf("%s: something moved: %+v", tt.hcl, s)
		}
		if s.LastReload == nil || s.LastReload.Outcome != string(tt.want) || s.Light != observe.Yellow {
			t.Errorf("%s: the status does not say that the reload was refused: %+v", tt.hcl, s)
		}
	}
}

func TestFirstStartRefuses(t *testing.T) {
	_, err := try(t, setup(t, `plugin "prob" "a" {}`, "probe-1.0.0"))
	var invalid *host.InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(describe(err), "probe") {
		t.Errorf("an invalid configuration: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = try(t, setup(t, fmt.Sprintf(`plugin "probe" "a" { listen = "tcp://%s" }`, l.Addr()), "probe-1.0.0"))
	var rolled *host.RolledBackError
	if !errors.As(err, &rolled) || !strings.Contains(describe(err), l.Addr().String()) {
		t.Errorf("a port that is taken: %v", err)
	}
}

func TestOneDaemonPerState(t *testing.T) {
	d := run(t, setup(t, two, "probe-1.0.0"))
	if _, err := try(t, d.dir); err == nil || !strings.Contains(err.Error(), "pid") {
		t.Errorf("a second daemon on one state directory: %v", err)
	}
	d.wants("probe.a.said", `{"text":"x"}`, "b:x")
}

// A listener survives the replacement of its instance, the upgrade of its
// plugin and the end of its process: the same socket, the same queue.
func TestListenerSurvives(t *testing.T) {
	port := freePort(t)
	hcl := func(prefix string) string {
		return fmt.Sprintf("plugin \"probe\" \"a\" {\n  prefix = %q\n  listen = \"tcp://127.0.0.1:%d\"\n}\n", prefix, port)
	}
	d := run(t, setup(t, hcl("one"), "probe-1.0.0"))
	socket := inode(t, port)
	says := func(want string) {
		t.Helper()
		if got, err := ask(port); err != nil || got != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
		if now := inode(t, port); now != socket {
			t.Fatalf("the socket changed from %s to %s", socket, now)
		}
	}
	says("one")
	d.write("host.hcl", hcl("two"))
	d.must(apply.Committed)
	until(t, "the old instance is gone", func() bool { return len(d.status().Draining) == 0 })
	says("two")
	drop(t, d.dir, "probe-1.0.1")
	d.must(apply.Committed)
	until(t, "the old process is gone", func() bool { return len(d.status().Draining) == 0 })
	says("two")
	pid := d.instance("probe.a").Pid
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	says("two") // waits in the queue until the next process accepts it
	if in := d.instance("probe.a"); in.Restarts != 1 || in.Pid == pid {
		t.Errorf("after a crash: %+v", in)
	}
}

// The port of an instance that leaves can be taken by another in one reload.
func TestListenerMoves(t *testing.T) {
	port := freePort(t)
	hcl := func(name string) string {
		return fmt.Sprintf("plugin \"probe\" %q {\n  prefix = %q\n  listen = \"tcp://127.0.0.1:%d\"\n}\n", name, name, port)
	}
	d := run(t, setup(t, hcl("a"), "probe-1.0.0"))
	socket := inode(t, port)
	d.write("host.hcl", hcl("b"))
	d.must(apply.Committed)
	until(t, "the old instance is gone", func() bool { return len(d.status().Draining) == 0 })
	if got, err := ask(port); got != "b" || inode(t, port) != socket {
		t.Errorf("got %q, %v; socket %s, was %s", got, err, inode(t, port), socket)
	}
	d.write("host.hcl", "")
	d.must(apply.Committed)
	until(t, "the socket is closed", func() bool {
		_, err := ask(port)
		return err != nil
	})
}

// Events in flight in a process that dies are delivered again, and settle once.
func TestCrashRedelivers(t *testing.T) {
	d := run(t, setup(t, `
plugin "probe" "a" { process = { isolation = "instance" } }
plugin "probe" "b" {
  prefix = "b:"
  process {
    isolation = "instance"
    restart = { max = 5, within = "1m", backoff = "1ms" }
  }
}
route "r" {
  from = probe.a.said
  to   = probe.b.crash
  delivery { attempts = 3 }
}
`, "probe-1.0.0"))
	d.wants("probe.a.said", `{"text":"x","count":1}`, "b:x")
	r := d.emit("probe.a.said", `{"text":"y","count":99}`)
	if r.Err == nil || r.Err.Code != wire.Unavailable || r.Err.Reason != wire.ReasonCrashed ||
		!strings.Contains(r.Err.Message, "the last words of the probe") {
		t.Errorf("three processes died of it: %+v", r.Err)
	}
	d.wants("probe.a.said", `{"text":"z"}`, "b:z")
	if in := d.instance("probe.b"); in.Restarts != 4 || in.Light != observe.Green {
		t.Errorf("after four crashes: %+v", in)
	}
	d.ledger()
}

// A process that ends too often turns its instances red, with its last words;
// a reload tries again.
func TestRestartLimit(t *testing.T) {
	d := run(t, setup(t, `
plugin "probe" "a" { process = { isolation = "instance" } }
plugin "probe" "b" {
  process {
    isolation = "instance"
    restart = { max = 1, within = "1m", backoff = "1ms" }
  }
}
route "r" {
  from = probe.a.said
  to   = probe.b.crash
  delivery { attempts = 9 }
}
`, "probe-1.0.0"))
	if r := d.emit("probe.a.said", `{"text":"x","count":2}`); r.Err == nil || r.Err.Code != wire.Unavailable {
		t.Errorf("an event whose instance failed: %+v", r)
	}
	in := d.instance("probe.b")
	if in.Light != observe.Red || in.State != "failed" || !strings.Contains(strings.Join(in.Stderr, "\n"), "the last words") {
		t.Errorf("after two crashes: %+v", in)
	}
	if s := d.status(); s.Light != observe.Red || !strings.Contains(s.Reason, "probe.b") {
		t.Errorf("the daemon's light: %s %s", s.Light, s.Reason)
	}
	if r := d.emit("probe.a.said", `{"text":"x"}`); r.Err == nil || r.Err.Code != wire.Unavailable {
		t.Errorf("an event for an instance that failed: %+v", r)
	}
	d.must(apply.Committed)
	if in := d.instance("probe.b"); in.Light != observe.Green {
		t.Errorf("after a reload: %+v", in)
	}
	d.wants("probe.a.said", `{"text":"x"}`, "x")
}

// An instance that ends its process again and again is mended by a reload: what
// is asked to take its place is not asked in that process.
func TestReloadMendsWhatKeepsEnding(t *testing.T) {
	d := run(t, setup(t, `
plugin "probe" "a" {
  refuse = "run"
  process { restart = { max = 100000, within = "1m", backoff = "1ms" } }
}
`, "probe-1.0.0"))
	until(t, "it has ended twice", func() bool { return d.instance("probe.a").Restarts > 1 })
	d.write("host.hcl", `
plugin "probe" "a" { prefix = "mended " }
plugin "probe" "b" { refuse = "verify" }
`)
	if r := d.must(apply.RolledBack); len(r.Diagnostics) != 1 || r.Diagnostics[0].Address != "probe.b" {
		t.Errorf("more is wrong than what is: %+v", r.Diagnostics)
	}
	d.write("host.hcl", `
plugin "probe" "a" { prefix = "mended " }
route "r" {
  from = probe.a.said
  to   = probe.a.echo
}
`)
	d.must(apply.Committed)
	d.wants("probe.a.said", `{"text":"x"}`, "mended x")
	until(t, "the old process is gone", func() bool { return len(d.status().Draining) == 0 })
	if in := d.instance("probe.a"); in.Light != observe.Green || in.Restarts != 0 {
		t.Errorf("after the reload: %+v", in)
	}
}

// What runs and could not be started again is told before it ends.
func TestExecutableIsGone(t *testing.T) {
	d := run(t, setup(t, two, "probe-1.0.0"))
	if err := os.Remove(filepath.Join(d.dir, "plugins", "probe-1.0.0")); err != nil {
		t.Fatal(err)
	}
	catalog := func() observe.Subsystem {
		for _, s := range d.status().Subsystems {
			if s.Name == "catalog" {
				return s
			}
		}
		return observe.Subsystem{}
	}
	until(t, "the status says so", func() bool {
		s := catalog()
		return s.Light == observe.Yellow && strings.Contains(s.Reason, "the executable of probe that runs is not in the plugin directory")
	})
	d.wants("probe.a.said", `{"text":"x"}`, "b:x")
	drop(t, d.dir, "probe-1.0.0")
	until(t, "it is there again", func() bool { return catalog().Light == observe.Green })
}

// A newer reload takes the place of one that is still being verified.
func TestNewerReloadWins(t *testing.T) {
	d := run(t, setup(t, two, "probe-1.0.0"))
	d.write("more.hcl", `plugin "probe" "slow" { verify_takes = "60s" }`)
	verifying := make(chan struct{})
	var once sync.Once
	first := make(chan apply.Result, 1)
	go func() {
		r, _ := d.Reload(t.Context(), apply.Request{}, func(p apply.Progress) {
			if p.Phase == apply.Verify && p.Message == "still looking" {
				once.Do(func() { close(verifying) })
			}
		})
		first <- r
	}()
	<-verifying
	if s := d.status(); s.Generation != 1 {
		t.Errorf("generation %d serves during the verify", s.Generation)
	}
	d.write("more.hcl", `plugin "probe" "quick" {}`)
	d.must(apply.Committed)
	if r := <-first; r.Outcome != apply.Superseded {
		t.Errorf("the older reload ended %s", r.Outcome)
	}
	d.instance("probe.quick")
}

func TestSIGHUP(t *testing.T) {
	d := run(t, setup(t, two, "probe-1.0.0"))
	d.write("more.hcl", `plugin "probe" "c" {}`)
	d.reload <- syscall.SIGHUP
	until(t, "generation 2 serves", func() bool { return d.status().Generation == 2 })
}

// Reloads that change only a route, under new connections all the time: no
// request fails, no process moves, the socket stays.
func TestReloadUnderLoad(t *testing.T) {
	port := freePort(t)
	routes := func(n int) string {
		return fmt.Sprintf(`
route "r" {
  from  = http.in.request
  to    = probe.out.echo
  input = { text = "generation %d" }
}
`, n)
	}
	d := run(t, setup(t, fmt.Sprintf(`
plugin "http" "in" {
  listen = "tcp://127.0.0.1:%d"
  path   = "/"
}
plugin "probe" "out" { prefix = "p:" }
`, port), "http", "probe-1.0.0"))
	d.write("route.hcl", routes(0))
	d.must(apply.Committed)
	socket, in, out := inode(t, port), d.instance("http.in").Pid, d.instance("probe.out").Pid

	var failed, done atomic.Int64
	var firstError atomic.Pointer[string]
	stop := make(chan struct{})
	var clients sync.WaitGroup
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(2 * time.Millisecond) // 500 a second
	defer tick.Stop()
	clients.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			clients.Go(func() {
				if err := post(client, port); err != nil {
					failed.Add(1)
					s := err.Error()
					firstError.CompareAndSwap(nil, &s)
				}
				done.Add(1)
			})
		}
	})
	for n := range 20 {
		before := done.Load()
		d.write("route.hcl", routes(n+1))
		d.must(apply.Committed)
		until(t, "requests go on", func() bool { return done.Load() > before+20 })
	}
	close(stop)
	clients.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed, the first: %s", failed.Load(), done.Load(), *firstError.Load())
	}
	if inode(t, port) != socket || d.instance("http.in").Pid != in || d.instance("probe.out").Pid != out {
		t.Error("a socket or a process changed with a route")
	}
	d.ledger()
	t.Logf("%d requests during 20 reloads", done.Load())
}

func post(client *http.Client, port int) error {
	r, err := client.Post(fmt.Sprintf("http://127.0.0.1:%d/", port), "application/json", strings.NewReader(`{"a":1}`))
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	var w word
	if r.StatusCode != http.StatusOK || json.Unmarshal(b, &w) != nil || !strings.HasPrefix(w.Text, "p:generation ") {
		return fmt.Errorf("%s: %s", r.Status, b)
	}
	return nil
}

// Stopping drains: what was accepted is answered first.
func TestStopDrains(t *testing.T) {
	port := freePort(t)
	d := run(t, setup(t, fmt.Sprintf(`
plugin "http" "in" {
  listen = "tcp://127.0.0.1:%d"
  path   = "/"
}
plugin "exec" "slow" { command = ["/bin/sh", "-c", "sleep 0.5; echo '{\"text\":\"p:generation x\"}'"] }
route "r" {
  from  = http.in.request
  to    = exec.slow.run
  input = {}
}
`, port), "http", "exec"))
	answered := make(chan error, 5)
	for range cap(answered) {
		go func() { answered <- post(http.DefaultClient, port) }()
	}
	until(t, "all requests are in flight", func() bool { return d.instance("exec.slow").InFlight == cap(answered) })
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	for range cap(answered) {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
}

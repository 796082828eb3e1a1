package host_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// state waits for a file that an instance writes into its state directory, and
// removes it.
func (d *daemon) state(instance, name string) string {
	d.t.Helper()
	plugin, _, _ := strings.Cut(instance, ".")
	path := filepath.Join(d.dir, "state", "instances", plugin, instance, name)
	var b []byte
	until(d.t, instance+" writes "+name, func() (ok bool) {
		var err error
		b, err = os.ReadFile(path)
		return err == nil
	})
	if err := os.Remove(path); err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

var commandLine struct {
	once sync.Once
	path string
	err  error
}

// host runs the command line against the daemon.
func (d *daemon) host(args ...string) (stdout string, code int) {
	d.t.Helper()
	commandLine.once.Do(func() {
		dir, err := os.MkdirTemp("", "command")
		if err == nil {
			commandLine.path = filepath.Join(dir, "host")
			cmd := exec.Command("go", "build", "-o", commandLine.path, "../cmd/host")
			cmd.Stderr = os.Stderr
			err = cmd.Run()
		}
		commandLine.err = err
	})
	if commandLine.err != nil {
		d.t.Fatal(commandLine.err)
	}
	cmd := exec.CommandContext(d.t.Context(), commandLine.path, append([]string{"-c", d.dir}, args...)...)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			d.t.Fatal(err)
		}
		return both.String(), exit.ExitCode()
	}
	return both.String(), 0
}

// approval is a daemon whose HTTP requests wait for somebody to decide.
func approval(t *testing.T, delivery string) (d *daemon, post func(text string) chan string) {
	t.Helper()
	port := freePort(t)
	d = run(t, setup(t, fmt.Sprintf(`
plugin "http" "in" {
  listen  = "tcp://127.0.0.1:%d"
  path    = "/"
  timeout = "60s"
}
plugin "probedesk" "front" { process = { isolation = "instance" } }
plugin "probedesk" "back"  { process = { isolation = "instance" } }
route "request" {
  from = http.in.request
  to   = probedesk.front.seek
  delivery { %s }
}
route "note" {
  from = probedesk.front.asked
  when = event.data.text == "wait"
  to   = probedesk.front.note
}
route "delegate" {
  from = probedesk.front.asked
  when = event.data.text == "delegate"
  to   = probedesk.back.approve
}
`, port, delivery), "http", "probedesk-1.0.0"))
	client := &http.Client{Timeout: time.Minute}
	return d, func(text string) chan string {
		answer := make(chan string, 1)
		go func() {
			body, _ := json.Marshal(word{Text: text})
			r, err := client.Post(fmt.Sprintf("http://127.0.0.1:%d/", port), "application/json", bytes.NewReader(body))
			if err != nil {
				answer <- err.Error()
				return
			}
			defer func() { _ = r.Body.Close() }()
			b, _ := io.ReadAll(r.Body)
			answer <- fmt.Sprint(r.StatusCode, " ", strings.TrimSpace(string(b)))
		}()
		return answer
	}
}

// An HTTP request is held open while its delivery is detached, and answered by
// whoever settles that: another plugin, the command line, the control API.
// Forged, stale and used tokens are refused, each with its own code.
func TestDeferredApproval(t *testing.T) {
	d, post := approval(t, `timeout = "50s"`)
	wants := func(what string, answer chan string, want string) {
		t.Helper()
		select {
		case got := <-answer:
			if got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: no answer", what)
		}
	}
	wants("another plugin", post("delegate"), `200 {"text":"approved by probedesk.back"}`)

	answer := post("wait")
	token := d.state("probedesk.front", "token")
	if s := d.status(); s.Routes[0].Detached != 1 || s.Routes[0].Pending != 1 {
		t.Errorf("while it is detached: %+v", s.Routes[0])
	}
	if out, code := d.host("events", "settle", "FORGED"); code != 1 || !strings.Contains(out, "unknown_token") {
		t.Errorf("a forged token: %d %s", code, out)
	}
	// The process that detached it may go.
	pid := d.instance("probedesk.front").Pid
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "it is started again", func() bool {
		in := d.instance("probedesk.front")
		return in.State == "ready" && in.Pid != pid
	})
	if out, code := d.host("events", "settle", token, "--value", `{"text":"by hand"}`); code != 0 || out != "settled\n" {
		t.Errorf("the command line: %d %s", code, out)
	}
	wants("the command line", answer, `200 {"text":"by hand"}`)
	if out, code := d.host("events", "settle", token); code != 1 || !strings.Contains(out, "already_settled") {
		t.Errorf("a used token: %d %s", code, out)
	}

	answer = post("wait")
	token = d.state("probedesk.front", "token")
	if out, code := d.host("events", "settle", token, "--error", "permission_denied:not this week"); code != 0 {
		t.Errorf("a rejection by hand: %d %s", code, out)
	}
	if got := <-answer; !strings.HasPrefix(got, "403 ") || !strings.Contains(got, "not this week") {
		t.Errorf("a rejection by hand: %s", got)
	}

	answer = post("wait")
	token = d.state("probedesk.front", "token")
	if err := d.Settle(t.Context(), control.SettleRequest{Token: token, Value: []byte(`"by API"`)}); err != nil {
		t.Errorf("the control API: %v", err)
	}
	wants("the control API", answer, `200 "by API"`)

	var no *wire.Error
	for token, want := range map[string]wire.Error{
		token:  {Code: wire.FailedPrecondition, Reason: wire.ReasonAlreadySettled},
		"NONE": {Code: wire.NotFound, Reason: wire.ReasonUnknownToken},
	} {
		if err := d.Settle(t.Context(), control.SettleRequest{Token: token}); !errors.As(err, &no) || no.Code != want.Code || no.Reason != want.Reason {
			t.Errorf("token %s: %v", token, err)
		}
	}
	if got := <-post("fail"); !strings.HasPrefix(got, "500 ") || !strings.Contains(got, "after it had detached") {
		t.Errorf("a handler that fails after it detached: %s", got)
	}
	d.ledger()
}

// The attempt of a detached delivery is given up at its deadline; its token is
// stale then, and that of the next attempt is good.
func TestStaleToken(t *testing.T) {
	d, post := approval(t, `
    timeout  = "1s"
    attempts = 2
    backoff  = "1ms"
  `)
	answer := post("wait")
	first := d.state("probedesk.front", "token")
	second := d.state("probedesk.front", "token")
	var no *wire.Error
	if err := d.Settle(t.Context(), control.SettleRequest{Token: first}); !errors.As(err, &no) || no.Code != wire.Aborted || no.Reason != wire.ReasonStaleAttempt {
		t.Errorf("the token of attempt 1: %v", err)
	}
	switch err := d.Settle(t.Context(), control.SettleRequest{Token: second, Value: []byte(`1`)}); {
	case err == nil:
		if got := <-answer; got != "200 1" {
			t.Errorf("the token of attempt 2: %s", got)
		}
	case errors.As(err, &no) && no.Reason == wire.ReasonStaleAttempt: // this machine is that slow
		if got := <-answer; !strings.HasPrefix(got, "504 ") {
			t.Errorf("both attempts were given up: %s", got)
		}
	default:
		t.Error(err)
	}
	d.ledger()
}

// A delivery that follows a promise takes no credit: an instance with credit
// for two passes three on that wait for each other's work.
func TestFollow(t *testing.T) {
	d := run(t, setup(t, `
plugin "probedesk" "a" {}
plugin "probe" "b" { prefix = "b:" }
route "first" {
  from = probe.b.said
  to   = probedesk.a.pass
}
route "asked" {
  from = probedesk.a.asked
  to   = probedesk.a.note
}
route "second" {
  from  = probedesk.a.sub
  to    = probedesk.a.seek
  when  = event.data.text == "wait"
}
route "third" {
  from  = probedesk.a.sub
  to    = probe.b.fail
  when  = event.data.text != "wait"
  delivery { attempts = 1 }
}
`, "probedesk-1.0.0", "probe-1.0.0"))
	var waiting sync.WaitGroup
	for range 3 {
		waiting.Go(func() {
			_, _ = d.Emit(t.Context(), control.EmitRequest{Type: "probe.b.said", Data: json.RawMessage(`{"text":"wait"}`), Timeout: 10 * time.Second})
		})
	}
	until(t, "all three wait", func() bool {
		for _, r := range d.status().Routes {
			if r.Name == "second" && r.Detached == 3 {
				return true
			}
		}
		return false
	})
	if r := d.emit("probe.b.said", `{"text":"x"}`); r.Err != nil || string(r.Value) != `{"text":"b:x"}` {
		t.Errorf("a fourth, beside them: %+v", r)
	}
	waiting.Wait() // nobody settles them: their deadline does
	d.ledger()
}

// Who emits and waits for nothing but that host has the event is told so at once,
// although nothing else goes that way and the handler takes for ever: what host
// says late, it says before it waits for more to read.
func TestAcceptAloneIsPrompt(t *testing.T) {
	d := run(t, setup(t, `
host { drain_timeout = "1ms" }
plugin "probe" "client" { process = { isolation = "instance" } }
plugin "probe" "a" { process = { isolation = "instance" } }
plugin "probe" "b" { process = { isolation = "instance" } }
route "in" {
  from = probe.client.said
  to   = probe.a.offer
}
route "out" {
  from = probe.a.said
  to   = probe.b.hang
  delivery {
    timeout = "10m"
  }
}
`, "probe-1.0.0"))
	var got word
	r := d.emit("probe.client.said", `{"text":"","count":20}`)
	if r.Err != nil || json.Unmarshal(r.Value, &got) != nil || got.Count != 20 {
		t.Fatalf("%+v", r)
	}
	longest, err := time.ParseDuration(got.Text)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the longest of 20 took %v", longest)
	if longest > 10*time.Second { // a millisecond; without the last word it would be for ever
		t.Errorf("an accept took %v", longest)
	}
	for _, route := range d.status().Routes {
		if route.Name == "out" && (route.Accepted != 20 || route.Pending != 20) {
			t.Errorf("the handlers of all should be at work: %+v", route)
		}
	}
}

// Handlers whose outcome nobody wants are told, with the cause.
func TestCancellationReachesHandlers(t *testing.T) {
	d := run(t, setup(t, `
plugin "probedesk" "a" { process = { isolation = "instance" } }
plugin "probedesk" "b" { process = { isolation = "instance" } }
plugin "probe" "c" {}
route "recall" {
  from  = probedesk.a.asked
  when  = event.data.text == "recall"
  to    = probedesk.a.recall
  input = { text = "recalled" }
}
route "sub" {
  from = probedesk.a.sub
  to   = probedesk.b.hold
}
route "late" {
  from  = probedesk.a.asked
  when  = event.data.text == "late"
  to    = probedesk.b.hold
  input = { text = "late" }
  delivery {
    timeout  = "200ms"
    attempts = 1
  }
}
route "sibling" {
  from  = probedesk.b.sub
  to    = probedesk.b.hold
}
route "rejects" {
  from  = probedesk.b.sub
  to    = probe.c.fail
  delivery { attempts = 1 }
}
`, "probedesk-1.0.0", "probe-1.0.0"))
	r := d.emit("probedesk.a.asked", `{"token":"","text":"recall"}`)
	if r.Err == nil || r.Err.Code != wire.Canceled || r.Err.Reason != wire.ReasonWithdrawn {
		t.Errorf("a promise that was withdrawn: %+v", r)
	}
	if got := d.state("probedesk.b", "cause"); got != wire.ReasonWithdrawn {
		t.Errorf("the handler's cause: %s", got)
	}
	r = d.emit("probedesk.a.asked", `{"token":"","text":"late"}`)
	if r.Err == nil || r.Err.Code != wire.DeadlineExceeded {
		t.Errorf("a handler that is too slow: %+v", r)
	}
	if got := d.state("probedesk.b", "cause"); !strings.Contains(got, "deadline") && !strings.Contains(got, "in time") {
		t.Errorf("the handler's cause: %s", got)
	}
	r = d.emit("probedesk.b.sub", `{"text":"x","count":9}`)
	if r.Err == nil || r.Err.Code != wire.Unavailable {
		t.Errorf("one of two routes rejects: %+v", r)
	}
	if got := d.state("probedesk.b", "cause"); got != wire.ReasonRejected {
		t.Errorf("the other's cause: %s", got)
	}
	d.ledger()
}

// What waits says for what, what failed says why, and what was not matched says
// which clause was false.
func TestWhyFromTheCommandLine(t *testing.T) {
	d := run(t, setup(t, `
plugin "probedesk" "a" {}
plugin "probedesk" "b" { process = { isolation = "instance" } }
route "hold" {
  from = probedesk.a.sub
  when = event.data.text == "hold" && event.data.count > 0
  to   = probedesk.b.hold
  delivery { queue = 1 }
}
`, "probedesk-1.0.0"))
	r := d.emit("probedesk.a.sub", `{"text":"hold","count":0}`)
	out, code := d.host("events", "why", r.ID.String())
	if code != 0 || !strings.Contains(out, "not matched by route hold: event.data.count > 0 is false (event.data.count is 0)") || !strings.Contains(out, "unrouted") {
		t.Errorf("not matched: %d %s", code, out)
	}
	if again, _ := d.host("events", "why", "--last-failure"); again != out {
		t.Errorf("the last failure: %s", again)
	}
	var emitted sync.WaitGroup
	for n := range 4 {
		emitted.Go(func() {
			r, err := d.Emit(t.Context(), control.EmitRequest{Type: "probedesk.a.sub", Subject: fmt.Sprint("s", n),
				Data: json.RawMessage(`{"text":"hold","count":1}`), Timeout: 20 * time.Second})
			if err == nil && (r.Err == nil || r.Err.Code != wire.DeadlineExceeded) {
				t.Errorf("s%d was not held: %+v", n, r)
			}
		})
	}
	until(t, "one waits outside of the queue", func() bool {
		return d.instance("probedesk.a").Waits != ""
	})
	for _, w := range []string{d.instance("probedesk.a").Waits, d.status().Routes[0].Waits} {
		if w != "waits for room in the queue of route hold: 1 of 1, which waits for credit of probedesk.b: 2 of 2 in flight" {
			t.Error(w)
		}
	}
	all := ""
	for n := range 4 {
		out, code := d.host("events", "why", fmt.Sprint("s", n))
		if code != 0 {
			t.Errorf("why s%d: %s", n, out)
		}
		all += out
	}
	for _, want := range []string{"in flight on route hold waits for the answer of probedesk.b.hold", "queued on route hold waits for credit of probedesk.b: 2 of 2 in flight",
		"unaccepted on route hold waits for room in the queue of route hold: 1 of 1"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing in\n%s", want, all)
		}
	}
	if out, code := d.host("status"); code != 0 || !strings.Contains(out, "probedesk.a waits for room in the queue of route hold") {
		t.Errorf("status: %s", out)
	}
	if out, code := d.host("events", "why", "nobody"); code != 1 || !strings.Contains(out, `does not have an event about "nobody"`) {
		t.Errorf("an unknown subject: %d %s", code, out)
	}
	emitted.Wait()
	d.ledger()
}

// A story shows an event with its causes and what it led to.
func TestShow(t *testing.T) {
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
	r := d.emit("probe.a.said", `{"text":"x"}`)
	out, code := d.host("events", "show", r.ID.String())
	own, led, ok := strings.Cut(out, "led to\n")
	if code != 0 || !ok || !strings.Contains(own, "route=a-b") || !strings.Contains(led, "probe.b.said  resolved") {
		t.Errorf("show: %d\n%s", code, out)
	}
	child := strings.Fields(led)[1]
	out, _ = d.host("events", "show", child)
	if causes, _, ok := strings.Cut(out, "event "+child); !ok || !strings.HasPrefix(causes, "caused by\n") || !strings.Contains(causes, r.ID.String()) {
		t.Errorf("show of the child:\n%s", out)
	}
}

// Dead deliveries are listed and replayed, after the cause is mended.
func TestReplayFromTheCommandLine(t *testing.T) {
	hcl := func(attempts int) string {
		return fmt.Sprintf(`
plugin "probe" "a" {}
plugin "probe" "b" {}
plugin "probe" "dead" {}
route "r" {
  from = probe.a.said
  to   = probe.b.fail
  delivery {
    attempts    = %d
    backoff     = "1ms"
    dead_letter = probe.dead.echo
  }
}
`, attempts)
	}
	d := run(t, setup(t, hcl(1), "probe-1.0.0"))
	r := d.emit("probe.a.said", `{"text":"x","count":2}`)
	if r.Err == nil {
		t.Fatalf("%+v", r)
	}
	out, code := d.host("events", "dead")
	if code != 0 || !strings.Contains(out, r.ID.String()) || !strings.Contains(out, "failing for the 1. time") {
		t.Errorf("dead: %d %s", code, out)
	}
	if out, code := d.host("events", "replay", "--route", "other"); code != 1 {
		t.Errorf("replay of nothing: %d %s", code, out)
	}
	d.write("host.hcl", hcl(3))
	d.must(apply.Committed)
	if out, code := d.host("events", "replay", r.ID.String()); code != 0 || out != r.ID.String()+" on route r: replayed\n" {
		t.Errorf("replay: %d %s", code, out)
	}
	if out, code := d.host("events", "replay", r.ID.String()); code != 1 || !strings.Contains(out, "not among the dead deliveries") {
		t.Errorf("a second replay: %d %s", code, out)
	}
	until(t, "the replay succeeds", func() bool {
		s := d.status()
		return s.Routes[0].Resolved == 1 && s.Routes[0].Replayed == 1 && s.Dead == 0
	})
	d.ledger()
	found := false
	_ = d.Tail(t.Context(), 1000, false, control.Filter{Event: r.ID}, func(e observe.Entry) error {
		found = found || e.Step == observe.Replaying
		return nil
	})
	if !found {
		t.Error("the recorder does not tell of the replay")
	}
}

// failing is a route to an action that fails, with a dead letter after so many
// attempts.
func failing(attempts int) string {
	return fmt.Sprintf(`
plugin "probe" "a" {}
plugin "probe" "b" {}
plugin "probe" "dead" {}
route "r" {
  from = probe.a.said
  to   = probe.b.fail
  delivery {
    attempts    = %d
    backoff     = "1ms"
    dead_letter = probe.dead.echo
  }
}
`, attempts)
}

// Many replay one dead delivery over the control API at once: one has it, each
// other is told why not.
func TestReplayAtOnce(t *testing.T) {
	d := run(t, setup(t, failing(1), "probe-1.0.0"))
	id := d.emit("probe.a.said", `{"text":"x","count":9}`).ID
	const many = 8
	answers := make(chan *wire.Error, many)
	begin := make(chan struct{})
	for range many {
		go func() {
			<-begin
			done, err := d.Replay(t.Context(), control.ReplayRequest{Events: []wire.ID{id}})
			if err != nil || len(done) != 1 {
				t.Errorf("%+v, %v", done, err)
				answers <- nil
				return
			}
			answers <- done[0].Err
		}()
	}
	close(begin)
	won := 0
	for range many {
		switch err := <-answers; {
		case err == nil:
			won++
		case err.Reason != wire.ReasonNotDead || err.Code != wire.NotFound:
			t.Errorf("%v", err)
		}
	}
	// It fails again, and is dead again: whoever came after that has replayed
	// another death of it. The ledger says how often.
	until(t, "the replays end", func() bool { return d.status().Events.Pending == 0 && d.status().Routes[0].Pending == 0 })
	if n := d.status().Routes[0].Replayed; n != uint64(won) || won == 0 {
		t.Errorf("%d were told that they replayed it, the ledger says %d", won, n)
	}
}

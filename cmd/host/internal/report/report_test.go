package report

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/generation"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/plan"
	"github.com/pluginhost/host/host/trial"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
)

// noon is when all of it happens.
var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.Local)

func id(t *testing.T, last string) wire.ID {
	t.Helper()
	x, err := wire.ParseID("01890000-0000-7000-8000-00000000000" + last)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// printed wants these lines, and no control character among them.
func printed(t *testing.T, print func(terminal.Printer), want ...string) {
	t.Helper()
	var b bytes.Buffer
	print(terminal.New(&b, true))
	if got := b.String(); got != strings.Join(want, "\n")+"\n" {
		t.Errorf("printed\n%swant\n%s\n", got, strings.Join(want, "\n"))
	}
	if strings.ContainsAny(b.String(), "\x1b\a\r") {
		t.Errorf("a terminal would obey: %q", b.String())
	}
}

func TestStatus(t *testing.T) {
	s := observe.Status{
		Light: observe.Yellow, Reason: "cgroups: none", Generation: 3, Version: "1.0.0", Pid: 42, Started: noon.Add(-time.Hour), ConfigDir: "/etc/h\x1b[2J",
		Instances: []observe.Instance{
			{Address: "http.a", Plugin: "http", Version: "1.2.0", State: "ready", Light: observe.Green, Pid: 7, Listeners: []string{"tcp://127.0.0.1:80"}, Refused: 2},
			{Address: "exec.b", Plugin: "exec", Version: "1.0.0", State: "failed", Light: observe.Red, Reason: "it ended", Restarts: 5, Stderr: []string{"panic:\x07 no"}, Waits: "waits for room on route r"},
		},
		Subsystems: []observe.Subsystem{{Name: "cgroups", Light: observe.Yellow, Reason: "none"}, {Name: "watch", Light: observe.Red, Reason: "gone"}, {Name: "fine", Light: observe.Green}},
		Routes: []observe.Route{{Name: "r", From: "http.a.request", To: "exec.b.run", Queued: 1, InFlight: 2, Detached: 3, Waits: "waits for exec.b to be ready",
			Reasons: []observe.Reason{{Ending: "dead", Reason: "crashed", Count: 3}, {Ending: "rejected", Reason: "queue_full", Count: 1}, {Ending: "rejected", Reason: "rejected", Count: 2}},
			Counts:  observe.Counts{Resolved: 4, Rejected: 5, Dead: 6, Retries: 7}}},
		Events:     observe.Counts{Accepted: 15, Resolved: 4, Rejected: 5, Pending: 0, Dead: 6},
		Reasons:    []observe.Reason{{Ending: "rejected", Reason: "unrouted", Count: 5}},
		Dead:       1,
		Draining:   []observe.Draining{{Address: "http.a", Generation: 2, InFlight: 9}},
		Reloading:  &observe.Reloading{Phase: "verify", Since: noon.Add(-2 * time.Second), Started: noon.Add(-3 * time.Second), Command: "host reload"},
		Confirm:    &observe.Confirm{Until: noon, Back: 2},
		LastReload: &observe.Reload{Outcome: "committed", Time: noon.Add(-time.Minute), Elapsed: 20 * time.Millisecond},
	}
	printed(t, func(out terminal.Printer) { Status(out, s, noon) },
		`yellow  generation 3  pid 42  up 1h0m0s  version 1.0.0`,
		`  cgroups: none`,
		`configuration /etc/h [2J`,
		``,
		`INSTANCE  PLUGIN      STATE   PID  RESTARTS  IN FLIGHT  LISTENS`,
		`http.a    http 1.2.0  ready   7    0         0          tcp://127.0.0.1:80`,
		`exec.b    exec 1.0.0  failed       5         0`,
		`red exec.b: it ended`,
		`    panic:  no`,
		``,
		`ROUTE  FROM            TO          QUEUED  IN FLIGHT  RESOLVED  REJECTED  DEAD  RETRIES`,
		`r      http.a.request  exec.b.run  1       2          4         5         6     7`,
		`http.a was refused 2 attempts to act as somebody else`,
		`exec.b waits for room on route r`,
		`route r waits for exec.b to be ready`,
		`route r has 3 detached, waiting for whoever has their token`,
		`route r failed: 3 dead by crashed, 1 rejected by queue_full, 2 given up, because another route rejected the promise`,
		``,
		`events: 15 accepted = 4 resolved + 5 rejected + 0 pending + 6 dead + 0 dropped`,
		`rejected: 5 rejected by unrouted`,
		`1 dead delivery is kept; host events dead shows them`,
		`red watch: gone`,
		`draining http.a of generation 2, 9 in flight`,
		`reload: verify for 2s, asked for by host reload 3s ago`,
		`on probation: unless host confirm follows, the daemon returns to generation 2 at 2030-01-02 12:00:00`,
		`last reload: committed, 1m0s ago, took 20ms`)
}

func TestPlan(t *testing.T) {
	p := &plan.Plan{
		Steps: []plan.Step{
			{Op: plan.Start, Address: "http.n"},
			{Op: plan.Replace, Address: "http.a", Reason: "another executable", Drains: plan.Drains{Deliveries: 2, Connections: 1},
				Changes: []plan.Change{{Name: "path", Old: `"/a"`, New: "\"/b\x1b\""}, {Name: "gone", Old: "1"}, {Name: "new", New: "2"}}},
			{Op: plan.Update, Address: "exec.b", Drains: plan.Drains{Deliveries: 1}},
			{Op: plan.Stop, Address: "exec.c", Drains: plan.Drains{Connections: 2}},
		},
		Routes: []plan.Change{{Name: "r", New: "a → b"}, {Name: "s", Old: "a → b", New: "a → c"}, {Name: "t", Old: "a → b"}},
		Kept:   4,
	}
	printed(t, func(out terminal.Printer) { Plan(out, p) },
		`+ start http.n`,
		`± replace http.a: another executable (1 connection and 2 deliveries drain)`,
		`    path: "/a" → "/b "`,
		`    gone: 1 → (none)`,
		`    new: 2`,
		`~ update exec.b (1 delivery drains)`,
		`- stop exec.c (2 connections drain)`,
		`+ route r`,
		`    a → b`,
		`~ route s`,
		`    a → b → a → c`,
		`- route t`,
		`    a → b → (none)`,
		`1 to start, 1 to replace, 1 to update, 1 to stop, 4 untouched; 3 routes changed.`)
	printed(t, func(out terminal.Printer) { Plan(out, &plan.Plan{Kept: 4}) }, "No changes.")
	var b bytes.Buffer
	if Plan(terminal.New(&b, false), nil); b.Len() > 0 {
		t.Errorf("no plan prints as %q", b.String())
	}
}

func TestReloaded(t *testing.T) {
	r := apply.Result{Outcome: apply.Committed, Generation: 7, Plan: &plan.Plan{Steps: []plan.Step{{Op: plan.Stop, Address: "exec.b"}}},
		Elapsed: 15 * time.Millisecond, Drained: true, Confirm: &generation.Confirm{Until: noon, Back: 6}}
	last := "Unless host confirm follows, the daemon returns to generation 6 at 12:00:00."
	printed(t, func(out terminal.Printer) { Reloaded(out, r) }, `- stop exec.b`,
		`0 to start, 0 to replace, 0 to update, 1 to stop, 0 untouched; 0 routes changed.`,
		`Generation 7 is serving (15ms).`, `The old instances have ended.`, last)
	r = apply.Result{Outcome: apply.Unchanged, Generation: 7, Elapsed: 15 * time.Millisecond}
	printed(t, func(out terminal.Printer) { Reloaded(out, r) }, `No changes; generation 7 keeps serving (15ms).`)
	printed(t, func(out terminal.Printer) {
		Progress(out, apply.Progress{Phase: "verify", Address: "http.a", Message: "asks\a", Percent: 40})
		Progress(out, apply.Progress{Phase: "commit", Message: "done", Percent: 100, Done: true})
	}, `verify   http.a: asks  40%`, `commit   done`)
}

func TestGenerations(t *testing.T) {
	g := control.Generations{
		Kept: []control.Kept{{Generation: 3, Serving: true, Confirm: &generation.Confirm{Until: noon, Back: 1}}},
		Attempts: []generation.Attempt{
			{Generation: 1, Outcome: string(apply.Committed), Who: generation.Who{User: "root", Command: "host run"}, Started: noon, Ended: noon.Add(time.Second), Summary: "2 to start"},
			{Generation: 2, Outcome: string(apply.RolledBack), Started: noon, Ended: noon.Add(time.Second), Summary: "1 to start", Message: "the port is\x1b taken"},
			{Generation: 3, Outcome: string(apply.Committed), Started: noon, Ended: noon.Add(time.Second), Summary: "1 to stop"},
			{Started: noon, Steps: []generation.Transition{{Phase: "load", Time: noon.Add(time.Millisecond)}}},
		},
	}
	printed(t, func(out terminal.Printer) { Generations(out, g, true) },
		`GENERATION  WHEN                 WHO   COMMAND   ENDED        TOOK  WHAT`,
		`            2030-01-02 12:00:00                  runs`,
		`              +1ms                       load`,
		`3 serving   2030-01-02 12:00:00                  committed    1s    1 to stop`,
		`            2030-01-02 12:00:00                  rolled_back  1s    the port is  taken`,
		`1 (gone)    2030-01-02 12:00:00  root  host run  committed    1s    2 to start`,
		`Unless host confirm follows, the daemon returns to generation 1 at 2030-01-02 12:00:00.`)
}

func TestStory(t *testing.T) {
	cause, own, led := id(t, "1"), id(t, "2"), id(t, "3")
	no := &wire.Error{Code: wire.Unavailable, Message: "not\x1b now"}
	s := control.Story{Event: own, Entries: []observe.Entry{
		{Time: noon, Step: observe.Emitted, Event: cause, Type: "http.a.request", Instance: "http.a", Subject: "order/1"},
		{Time: noon, Step: observe.Emitted, Event: own, Type: "exec.b.ran", Causation: cause},
		{Time: noon, Step: observe.NotMatched, Event: own, Type: "exec.b.ran", Route: "quiet", Detail: "event.data.total > 0 (0)"},
		{Time: noon, Step: observe.NotMatched, Event: own, Type: "exec.b.ran", Route: "odd"},
		{Time: noon, Step: observe.Retrying, Event: own, Type: "exec.b.ran", Route: "r", Instance: "log.c", Attempt: 1, Err: no},
		{Time: noon, Step: observe.DeadLettered, Event: own, Type: "exec.b.ran", Route: "r", Instance: "log.c", Err: no},
		{Time: noon, Step: observe.Rejected, Event: own, Type: "exec.b.ran", Elapsed: time.Second, Err: no},
		{Time: noon, Step: observe.Emitted, Event: led, Type: "log.c.said", Causation: own},
	}, Waiting: []observe.Waiting{{Route: "slow", State: "in_flight", Why: "waits for log.c"}}}
	at, kind := "12:00:00.000  "+own.String(), "  exec.b.ran  "
	printed(t, func(out terminal.Printer) { Story(out, s) },
		"caused by",
		"12:00:00.000  "+cause.String()+"  http.a.request  emitted  subject=order/1",
		"event "+own.String(),
		at+kind+"emitted",
		at+kind+"not_matched  route=quiet  event.data.total > 0 (0)",
		at+kind+"not_matched  route=odd",
		at+kind+"retrying  route=r  to=log.c  attempt=1  "+terminal.Plain(no.Error()),
		at+kind+"dead_lettered  route=r  to=log.c  "+terminal.Plain(no.Error()),
		at+kind+"rejected  1s  "+terminal.Plain(no.Error()),
		"led to",
		"12:00:00.000  "+led.String()+"  log.c.said  emitted",
		"in flight on route slow waits for log.c")
	printed(t, func(out terminal.Printer) { Why(out, s) },
		own.String()+" exec.b.ran",
		"not matched by route quiet: event.data.total > 0 (0)",
		"not matched by route odd: its when was false",
		"attempt 1 on route r failed: "+terminal.Plain(no.Error()),
		"dead lettered by route r: "+terminal.Plain(no.Error()),
		"rejected after 1s: "+terminal.Plain(no.Error()),
		"in flight on route slow waits for log.c")
}

func TestOutcomes(t *testing.T) {
	own, no := id(t, "2"), &wire.Error{Code: wire.NotFound, Message: "no\a such"}
	printed(t, func(out terminal.Printer) {
		Outcome(out, control.EmitResult{ID: own, Value: json.RawMessage(`{"a":1}`)})
		Outcome(out, control.EmitResult{ID: own})
		Outcome(out, control.EmitResult{ID: own, Err: no})
		Replayed(out, observe.Replayed{Event: own, Route: "r"})
		Replayed(out, observe.Replayed{Event: own, Route: "r", Err: no})
	}, own.String()+` resolved: {"a":1}`, own.String()+" resolved", own.String()+" rejected: "+terminal.Plain(no.Error()),
		own.String()+" on route r: replayed", own.String()+" on route r: not replayed: "+terminal.Plain(no.Error()))
	printed(t, func(out terminal.Printer) {
		Dead(out, control.DeadList{Dead: []observe.Dead{{Event: own, Type: "a.b.c", Route: "r", Time: noon, Attempts: make([]observe.Attempt, 2), Subject: "s", Err: no}}, Forgotten: 3})
	}, `EVENT                                 TYPE   ROUTE  DIED                 ATTEMPTS  SUBJECT  WHY`,
		own.String()+`  a.b.c  r      2030-01-02 12:00:00  2         s        `+terminal.Plain(no.Error()),
		`3 older ones were forgotten to make room`)
}

func TestPlugins(t *testing.T) {
	word := schema.Type{Kind: schema.Object, Fields: []schema.Field{{Name: "text", Type: schema.Type{Kind: schema.String}, Required: true}}}
	m := &schema.Manifest{Name: "shout", Version: "1.0.0", Doc: "Shouts.", Config: []schema.Field{
		{Name: "mode", Type: schema.Type{Kind: schema.String}, Default: json.RawMessage(`"loud"`), OneOf: []string{"loud"}, Doc: "How."},
	}, Events: []schema.Event{{Name: "said", Doc: "It was said.", Data: schema.Type{Kind: schema.Any}}},
		Actions: []schema.Action{{Name: "say", Doc: "Says.", Input: word, Output: word}}}
	digest := strings.Repeat("ab", 32)
	all := []catalog.Entry{
		{Name: "shout", Version: "1.0.0", Digest: digest, Path: "/p/shout", State: catalog.Ready, Manifest: m},
		{Name: "x", Path: "/p/x", State: catalog.Rejected, Reason: "it is\x1b no plugin"},
	}
	printed(t, func(out terminal.Printer) { Plugins(out, all) },
		`NAME   VERSION  STATE     DIGEST        FILE`,
		`shout  1.0.0    ready     abababababab  shout`,
		`x               rejected                x`,
		`x: it is  no plugin`)
	printed(t, func(out terminal.Printer) { Plugin(out, all[0]); Plugin(out, all[1]) },
		`shout 1.0.0  ready`, `  Shouts.`, `  /p/shout`, `  sha256 `+digest, ``,
		`plugin "shout" NAME {`, `  mode =  string  default "loud" one of ["loud"]  How.`, `}`, ``,
		`event said  It was said.`, `    any`, ``,
		`action say  Says.`, `  takes`, `    text  string  required`, `  returns`, `    text  string  required`,
		`x   rejected`, `  it is  no plugin`, `  /p/x`)
}

func TestTests(t *testing.T) {
	all := []trial.Result{
		{Name: "good", Passed: true, Elapsed: time.Second},
		{Name: "bad", Elapsed: time.Second, Failures: []trial.Failure{{What: "value", Got: "1\a", Want: "2", Hint: "one\ntwo", Range: config.Range{File: "a.hcl", Line: 3}}}},
	}
	bad := []string{"--- FAIL: bad (1s)", "    a.hcl:3: value", "        got:  1 ", "        want: 2", "        one", "        two", "FAIL  1 of 2 tests"}
	printed(t, func(out terminal.Printer) { Tests(out, all, false) }, bad...)
	printed(t, func(out terminal.Printer) { Tests(out, all, true) }, slices.Concat([]string{"--- PASS: good (1s)"}, bad)...)
	printed(t, func(out terminal.Printer) { Tests(out, all[:1], false) }, "ok  1 test")
	printed(t, func(out terminal.Printer) { Tests(out, nil, false) }, "no tests")
}

// Lists in JSON are never null.
func TestComplete(t *testing.T) {
	for _, v := range []any{CompleteStatus(observe.Status{}), CompleteStory(control.Story{}), CompleteGenerations(control.Generations{}), CompleteResult(apply.Result{Plan: &plan.Plan{}})} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("null")) {
			t.Errorf("%T: %s", v, b)
		}
	}
}

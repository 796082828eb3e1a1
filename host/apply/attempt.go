package apply

import (
	"time"

	"github.com/pluginhost/host/host/generation"
	"github.com/pluginhost/host/host/observe"
)

// attempt is the trail of one transaction. Nothing is written of one that
// neither changes anything nor fails.
type attempt struct {
	a      *Applier
	record generation.Attempt
	number uint64 // in the log, 0 while it is not there
	phase  Phase
	since  time.Time
}

// begin opens the trail.
func (a *Applier) begin(who generation.Who) *attempt {
	t := &attempt{a: a, record: generation.Attempt{Who: who, Started: time.Now().UTC()}}
	a.mu.Lock()
	a.attempt = t
	a.mu.Unlock()
	return t
}

// enter notes that a phase begins.
func (t *attempt) enter(p Phase, g uint64) {
	now := time.Now()
	t.a.mu.Lock()
	t.phase, t.since = p, now
	t.record.Generation = g
	t.a.mu.Unlock()
	step := generation.Transition{Phase: string(p), Time: now.UTC()}
	if t.number == 0 {
		t.record.Steps = append(t.record.Steps, step)
		if p != Load && p != Plan {
			t.number = t.a.o.Log.Begin(t.record)
		}
	} else {
		t.a.o.Log.Step(t.number, step)
	}
	if t.number != 0 {
		t.a.o.Router.EmitHost("reload.phase", map[string]any{"phase": p, "generation": g, "command": t.record.Who.Command})
	}
	t.a.arrow(string(p))
}

// end closes the trail, and tells whoever routes the host's events.
func (t *attempt) end(r Result) {
	a := t.a
	t.record.Outcome, t.record.Message, t.record.Ended = string(r.Outcome), r.Message, time.Now().UTC()
	a.mu.Lock()
	a.attempt = nil
	a.last = &observe.Reload{Time: time.Now(), Outcome: string(r.Outcome), Generation: r.Generation,
		Elapsed: r.Elapsed, Message: r.Message, Command: t.record.Who.Command, User: t.record.Who.User}
	a.mu.Unlock()
	if r.Outcome == Unchanged && t.number == 0 {
		return
	}
	if t.number == 0 {
		t.number = a.o.Log.Begin(t.record)
	}
	a.o.Log.End(t.number, t.record)
	event := map[string]any{"outcome": r.Outcome, "generation": r.Generation, "message": r.Message, "command": t.record.Who.Command}
	switch r.Outcome {
	case Committed:
		a.o.Router.EmitHost("reload.committed", event)
	case Invalid, RolledBack:
		a.o.Router.EmitHost("reload.refused", event)
	}
}

// status is what host status shows while it runs. a.mu is held.
func (t *attempt) status() *observe.Reloading {
	return &observe.Reloading{Phase: string(t.phase), Since: t.since, Started: t.record.Started, Command: t.record.Who.Command}
}

// arrow is a transition that tests may end the daemon at.
func (a *Applier) arrow(name string) {
	if a.o.Arrow != nil {
		a.o.Arrow(name)
	}
}

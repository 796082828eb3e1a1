package host

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route"
	"github.com/pluginhost/host/sdk/wire"
)

// byHand is who settles what a person settles.
const byHand = "host"

// Settle implements control.Backend.
func (d *daemon) Settle(_ context.Context, s control.SettleRequest) error {
	if err := d.router.Redeem(byHand, d.options.Version, &wire.Settle{Token: s.Token, Value: s.Value, Err: s.Err}); err != nil {
		if err.Reason == wire.ReasonUnknownToken {
			d.audit.Refuse(byHand, wire.ID{}, err)
		}
		return err
	}
	return nil
}

// Dead implements control.Backend.
func (d *daemon) Dead(context.Context) (control.DeadList, error) {
	dead, forgotten := d.router.Dead()
	return control.DeadList{Dead: d.secrets.Dead(dead), Forgotten: forgotten}, nil
}

// Replay implements control.Backend.
func (d *daemon) Replay(_ context.Context, r control.ReplayRequest) ([]observe.Replayed, error) {
	if len(r.Events) == 0 && r.Route == "" && !r.All {
		return nil, &wire.Error{Code: wire.InvalidArgument, Message: "say what to replay: events, a route, or all"}
	}
	done := d.router.Replay(func(x *observe.Dead) bool {
		return r.All || (len(r.Events) == 0 || slices.Contains(r.Events, x.Event)) && (r.Route == "" || r.Route == x.Route)
	})
	for _, id := range r.Events { // whoever names one is told of it
		if !slices.ContainsFunc(done, func(x observe.Replayed) bool { return x.Event == id }) {
			done = append(done, observe.Replayed{Event: id, Route: r.Route, Err: route.NotDead()})
		}
	}
	return done, nil
}

// maxCauses bounds the chain of causes of a story.
const maxCauses = 32

// Story implements control.Backend.
func (d *daemon) Story(_ context.Context, r control.StoryRequest) (control.Story, error) {
	entries := d.recent()
	s := control.Story{Event: r.Event}
	for n := len(entries) - 1; n >= 0 && s.Event.IsZero(); n-- {
		e := &entries[n]
		switch {
		case e.Event.IsZero() || e.Step == observe.Refused:
		case r.LastFailure && (e.Step == observe.Rejected || e.Step == observe.DeadLettered || e.Step == observe.Dropped),
			r.Subject != "" && e.Subject == r.Subject:
			s.Event = e.Event
		}
	}
	if s.Event.IsZero() && r.Subject != "" { // it may wait longer than the recorder remembers
		if w := d.router.Waiting(func(ev *wire.Event) bool { return ev.Subject == r.Subject }); len(w) > 0 {
			s.Event = w[len(w)-1].Event
		}
	}
	what := r.Event.String()
	switch {
	case r.Subject != "":
		what = fmt.Sprintf("an event about %q", r.Subject)
	case r.LastFailure:
		what = "an event that failed"
	}
	told := d.family(s.Event, entries)
	for _, e := range entries {
		if told[e.Event] {
			s.Entries = append(s.Entries, d.secrets.Entry(e))
		}
	}
	s.Waiting = d.secrets.Waiting(d.router.Waiting(func(ev *wire.Event) bool { return ev.ID == s.Event }))
	if s.Event.IsZero() || len(s.Entries) == 0 && len(s.Waiting) == 0 {
		return s, &wire.Error{Code: wire.NotFound, Message: fmt.Sprintf(
			"the recorder does not have %s: it keeps the last %d steps of all events", what, d.options.Record)}
	}
	return s, nil
}

// family are an event, its causes and what it led to directly.
func (d *daemon) family(id wire.ID, entries []observe.Entry) map[wire.ID]bool {
	cause := map[wire.ID]wire.ID{}
	told := map[wire.ID]bool{id: true}
	for _, e := range entries {
		if e.Step != observe.Emitted {
			continue
		}
		cause[e.Event] = e.Causation
		if e.Causation == id && !id.IsZero() {
			told[e.Event] = true
		}
	}
	for n := 0; n < maxCauses && !cause[id].IsZero(); n++ {
		id = cause[id]
		told[id] = true
	}
	return told
}

// recent is all that the recorder has.
func (d *daemon) recent() []observe.Entry {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // recent entries only
	var all []observe.Entry
	_ = d.recorder.Tail(ctx, d.options.Record, nil, func(e observe.Entry) error {
		all = append(all, e)
		return nil
	})
	slices.SortFunc(all, func(a, b observe.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return all
}

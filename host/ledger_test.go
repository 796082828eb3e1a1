package host_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// ledger checks the steps that were recorded: every event settles once, every
// delivery ends once, and the events of one subject go one after the other
// where their route wants that.
type ledger struct {
	ordered map[string]bool // names of routes
	events  map[wire.ID]*account
	lines   map[[2]string]*lane // by route and subject
	emitted uint64
	settled uint64
	errs    []error
}

// account is what is known of one event.
type account struct {
	order   uint64
	settled int
	routes  map[string]*errand
}

// errand is a delivery.
type errand struct {
	attempt   uint32
	delivered bool
	ended     int
}

// lane is a subject on an ordered route.
type lane struct {
	busy wire.ID // delivered and not ended
	last uint64  // order of the event that was delivered last
}

func newLedger(ordered ...string) *ledger {
	l := &ledger{ordered: map[string]bool{}, events: map[wire.ID]*account{}, lines: map[[2]string]*lane{}}
	for _, name := range ordered {
		l.ordered[name] = true
	}
	return l
}

func (l *ledger) fault(format string, args ...any) {
	if len(l.errs) < 20 {
		l.errs = append(l.errs, fmt.Errorf(format, args...))
	}
}

// take takes the next step.
func (l *ledger) take(e observe.Entry) {
	switch e.Step {
	case observe.Missed:
		l.fault("%d steps were not seen", e.Attempt)
		return
	case observe.Refused:
		return
	case observe.Emitted:
		l.emitted++
		if l.events[e.Event] != nil {
			l.fault("event %s was emitted twice", e.Event)
		}
		l.events[e.Event] = &account{order: l.emitted, routes: map[string]*errand{}}
		return
	}
	a := l.events[e.Event]
	if a == nil {
		l.fault("event %s: %s before it was emitted", e.Event, e.Step)
		return
	}
	if e.Step == observe.Resolved || e.Step == observe.Rejected {
		l.settled++
		if a.settled++; a.settled > 1 {
			l.fault("event %s was settled %d times", e.Event, a.settled)
		}
		return
	}
	if e.Step == observe.NotMatched {
		return
	}
	d := a.routes[e.Route]
	if d == nil {
		d = &errand{}
		a.routes[e.Route] = d
	}
	line := l.line(e)
	switch e.Step {
	case observe.Delivered:
		if d.ended > 0 {
			l.fault("event %s on route %s: delivered after its end", e.Event, e.Route)
		}
		if e.Attempt <= d.attempt {
			l.fault("event %s on route %s: attempt %d after %d", e.Event, e.Route, e.Attempt, d.attempt)
		}
		d.attempt, d.delivered = e.Attempt, true
		if line == nil {
			return
		}
		if !line.busy.IsZero() && line.busy != e.Event {
			l.fault("subject %s on route %s: %s delivered while %s is not done", e.Subject, e.Route, e.Event, line.busy)
		}
		if a.order < line.last {
			l.fault("subject %s on route %s: %s delivered after one that came later", e.Subject, e.Route, e.Event)
		}
		line.busy, line.last = e.Event, a.order
	case observe.Settled, observe.DeadLettered, observe.Dropped:
		if d.ended++; d.ended > 1 {
			l.fault("event %s on route %s ended %d times", e.Event, e.Route, d.ended)
		}
		if line != nil && line.busy == e.Event {
			line.busy = wire.ID{}
		}
	}
}

func (l *ledger) line(e observe.Entry) *lane {
	if !l.ordered[e.Route] || e.Subject == "" {
		return nil
	}
	key := [2]string{e.Route, e.Subject}
	if l.lines[key] == nil {
		l.lines[key] = &lane{}
	}
	return l.lines[key]
}

// close says what is wrong at the end, when nothing is pending any more.
// status is what the daemon says of the same events.
func (l *ledger) close(status observe.Status) error {
	for id, a := range l.events {
		if a.settled == 0 {
			l.fault("event %s was never settled", id)
		}
		for route, d := range a.routes {
			if d.ended == 0 {
				l.fault("event %s on route %s: the delivery never ended", id, route)
			}
		}
	}
	if e := status.Events; e.Accepted != l.settled || e.Pending != 0 {
		l.fault("%d events were settled, the daemon says %+v", l.settled, e)
	}
	return errors.Join(append(l.errs, balance(status))...)
}

// balance checks that accepted is the sum of everything else, and that the
// reasons sum up to what ended without success.
func balance(s observe.Status) error {
	var errs []error
	check := func(name string, c observe.Counts, reasons []observe.Reason) {
		if c.Accepted != c.Resolved+c.Rejected+c.Pending+c.Dead+c.Dropped {
			errs = append(errs, fmt.Errorf("%s: accepted is not the sum of the rest: %+v", name, c))
		}
		told := uint64(0)
		for _, r := range reasons {
			told += r.Count
		}
		if failed := c.Rejected + c.Dead + c.Dropped; told != failed {
			errs = append(errs, fmt.Errorf("%s: %d ended without success, and %d have a reason", name, failed, told))
		}
	}
	check("events", s.Events, s.Reasons)
	for _, r := range s.Routes {
		check("route "+r.Name, r.Counts, r.Reasons)
	}
	return errors.Join(errs...)
}

// The checker is checked: each fault that it is there for is planted once.
func TestLedgerSeesFaults(t *testing.T) {
	one, two := wire.NewID(), wire.NewID()
	step := func(id wire.ID, s observe.Step, attempt uint32) observe.Entry {
		e := observe.Entry{Event: id, Step: s, Subject: "s", Attempt: attempt}
		if s != observe.Emitted && s != observe.Resolved && s != observe.Rejected {
			e.Route = "r"
		}
		return e
	}
	good := []observe.Entry{
		step(one, observe.Emitted, 0), step(one, observe.Queued, 0), step(one, observe.Delivered, 1),
		step(two, observe.Emitted, 0), step(two, observe.Queued, 0),
		step(one, observe.Retrying, 1), step(one, observe.Delivered, 2), step(one, observe.Settled, 2), step(one, observe.Resolved, 0),
		step(two, observe.Delivered, 1), step(two, observe.Settled, 1), step(two, observe.Resolved, 0),
	}
	status := func() observe.Status {
		return observe.Status{Events: observe.Counts{Accepted: 2, Resolved: 2}}
	}
	without := func(n int) []observe.Entry { return slices.Delete(slices.Clone(good), n, n+1) }
	twice := func(n int) []observe.Entry { return slices.Insert(slices.Clone(good), n, good[n]) }
	swapped := slices.Clone(good)
	swapped[7], swapped[9] = good[9], good[7]
	behind := append([]observe.Entry{good[0], good[1], good[3], good[4], good[9], good[10], good[11]}, good[2], good[7], good[8])
	for name, c := range map[string]struct {
		entries []observe.Entry
		status  func(*observe.Status)
		caught  bool
	}{
		"good":                        {entries: good},
		"an event settled twice":      {entries: twice(8), caught: true},
		"an event dropped":            {entries: without(11), caught: true},
		"a delivery ended twice":      {entries: twice(7), caught: true},
		"a delivery lost":             {entries: without(10), caught: true},
		"an attempt twice":            {entries: twice(6), caught: true},
		"a subject's second too soon": {entries: swapped, caught: true},
		"a subject out of order":      {entries: behind, caught: true},
		"steps missed":                {entries: append([]observe.Entry{{Step: observe.Missed, Attempt: 3}}, good...), caught: true},
		"another sum":                 {entries: good, caught: true, status: func(s *observe.Status) { s.Events.Accepted++ }},
		"one pending": {entries: good, caught: true, status: func(s *observe.Status) {
			s.Events.Accepted, s.Events.Pending = 3, 1
		}},
		"a route that does not balance": {entries: good, caught: true, status: func(s *observe.Status) {
			s.Routes = []observe.Route{{Name: "r", Counts: observe.Counts{Accepted: 2, Resolved: 1}}}
		}},
		"a failure without a reason": {entries: good, caught: true, status: func(s *observe.Status) {
			s.Routes = []observe.Route{{Name: "r", Counts: observe.Counts{Accepted: 1, Rejected: 1}}}
		}},
	} {
		l := newLedger("r")
		for _, e := range c.entries {
			l.take(e)
		}
		s := status()
		if c.status != nil {
			c.status(&s)
		}
		if err := l.close(s); (err != nil) != c.caught {
			t.Errorf("%s: %v", name, err)
		}
	}
}

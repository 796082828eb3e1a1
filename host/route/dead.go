package route

import (
	"strings"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/grave"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

// bury keeps a delivery that failed for good, until it is replayed.
func (r *Router) bury(d *delivery, err *wire.Error, now clock.Instant) {
	r.dead.Bury(observe.Dead{Event: d.ev.ID, Type: d.ev.Type, Subject: d.ev.Subject, Route: d.route.Name,
		Time: now.Wall, Err: err, Attempts: d.history}, &d.ev.Event)
}

// Dead returns the dead deliveries that are kept, oldest first, and how many
// were forgotten to make room. A route without dead_letter has none.
func (r *Router) Dead() (dead []observe.Dead, forgotten uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.dead.All() {
		dead = append(dead, b.Dead)
	}
	return dead, r.dead.Forgotten
}

// Replay gives dead deliveries to their routes again: the same event, with all
// attempts, without its deadline, and with the input that the route makes of it
// now. when is not asked again. Each counts as accepted by its route once more,
// and as dead still; nobody waits for it, and the ledger of events does not
// know it. One that its route does not take stays where it is.
func (r *Router) Replay(want func(*observe.Dead) bool) []observe.Replayed {
	r.mu.Lock()
	bodies := r.dead.All()
	r.mu.Unlock()
	var done []observe.Replayed
	for _, b := range bodies {
		if want(&b.Dead) {
			done = append(done, observe.Replayed{Event: b.Dead.Event, Route: b.Route, Err: r.replay(b)})
		}
	}
	return done
}

func (r *Router) replay(b *grave.Body) *wire.Error {
	address := b.Event.Source
	if r.node != "" {
		_, address, _ = strings.Cut(address, "/")
	}
	name := strings.TrimPrefix(b.Event.Type, address+".")
	for {
		now := r.clock.Now()
		table := r.table.Load()
		x := table.Find(address, name, func(rt link) bool { return rt.Name == b.Route })
		if x == nil {
			return reason.NoRoute(b.Route, b.Event.Type)
		}
		input, hasInput, fault := x.Input(&b.Event)
		if fault != nil {
			return fault
		}
		r.mu.Lock()
		if r.table.Load() != table {
			r.mu.Unlock()
			continue
		}
		var err *wire.Error
		switch rt := x.Route.route; {
		case r.closed:
			err = reason.Shutdown()
		case rt.Hopeless() != nil:
			err = rt.Hopeless()
		case !rt.Room():
			err = reason.QueueFull("not replayed", rt.Name, rt.Waiting.Len())
		case !r.dead.Take(b):
			err = reason.NotDead()
		default:
			rt.Book.Replayed++
			d := r.alone(&Source{Address: address}, &b.Event, rt, now)
			d.input, d.hasInput = input, hasInput
			r.offer(d, now)
			r.record(observe.Replaying, d.ev, d, nil, now)
			r.events.Release(d.ev)
		}
		r.unlock(now)
		return err
	}
}

// alone makes a delivery of an event that nobody waits for, in no ledger of
// events and without a deadline. The caller offers it and releases the event.
func (r *Router) alone(s *Source, ev *wire.Event, rt *route, now clock.Instant) *delivery {
	e := r.events.New(s, 0, ev, now)
	e.Deadline, e.Until = 0, 0
	e.Letter, e.Accepted = true, true
	e.Deliveries = e.One[:1]
	d := &e.Deliveries[0]
	d.begin(e, rt)
	d.await = false
	e.Open++
	r.open++
	return d
}

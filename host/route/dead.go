package route

import (
	"strings"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/grave"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

// Dead returns the dead deliveries that are kept, oldest first, and how many
// were forgotten to make room. A route without dead_letter has none.
func (r *Router) Dead() (dead []observe.Dead, forgotten uint64) {
	r.c.Mu.Lock()
	defer r.c.Mu.Unlock()
	for _, b := range r.c.Graves.All() {
		dead = append(dead, b.Dead)
	}
	return dead, r.c.Graves.Forgotten
}

// Replay gives dead deliveries to their routes again: the same event, with all
// attempts, without its deadline, and with the input that the route makes of it
// now. when is not asked again. Each counts as accepted by its route once more,
// and as dead still; nobody waits for it, and the ledger of events does not
// know it. One that its route does not take stays where it is. Of two replays of
// one dead delivery at once, one has it and the other gets reason not_dead.
func (r *Router) Replay(want func(*observe.Dead) bool) []observe.Replayed {
	r.c.Mu.Lock()
	bodies := r.c.Graves.All()
	r.c.Mu.Unlock()
	var done []observe.Replayed
	for _, b := range bodies {
		if want(&b.Dead) {
			done = append(done, observe.Replayed{Event: b.Dead.Event, Route: b.Route, Err: r.replay(b)})
		}
	}
	return done
}

// NotDead is why an event was not replayed that has no dead delivery.
func NotDead() *wire.Error { return reason.NotDead() }

func (r *Router) replay(b *grave.Body) *wire.Error {
	address := b.Event.Source
	if r.node != "" {
		_, address, _ = strings.Cut(address, "/")
	}
	name := strings.TrimPrefix(b.Event.Type, address+".")
	for {
		now := r.c.Clock.Now()
		table := r.table.Load()
		x := table.Find(address, name, func(rt link) bool { return rt.Name == b.Route })
		if x == nil {
			return reason.NoRoute(b.Route, b.Event.Type)
		}
		input, hasInput, fault := x.Input(&b.Event)
		if fault != nil {
			return fault
		}
		r.c.Mu.Lock()
		if r.table.Load() != table {
			r.c.Mu.Unlock()
			continue
		}
		var err *wire.Error
		switch rt := x.Route.Route; {
		case r.c.Closed:
			err = reason.Shutdown()
		case rt.Hopeless() != nil:
			err = rt.Hopeless()
		case !rt.Room():
			err = reason.QueueFull("not replayed", rt.Name, rt.Waiting.Len())
		case !r.c.Graves.Take(b):
			err = reason.NotDead()
		default:
			rt.Book.Replayed++
			d := r.c.Alone(&Source{Address: address}, &b.Event, rt, now)
			d.Input, d.HasInput = input, hasInput
			r.c.Offer(d, now)
			r.c.Record(observe.Replaying, d.Ev, d, nil, now)
			r.c.Events.Release(d.Ev)
		}
		r.c.Unlock(now)
		return err
	}
}

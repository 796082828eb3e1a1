package route

import (
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/letter"
	"github.com/pluginhost/host/sdk/wire"
)

// remember keeps a failed attempt for the dead letter, where there may be one.
func (d *delivery) remember(err *wire.Error, now clock.Instant) {
	if d.route.Letters != nil {
		d.history = letter.Remember(d.history, observe.Attempt{Attempt: d.attempt, Time: now.Wall, Err: err})
	}
}

// deadLetter queues the letter that tells of a delivery that failed for good.
// It is a delivery of its own to another action, under the route's policy but
// for order, deadline and dead letter; nobody waits for it.
func (r *Router) deadLetter(d *delivery, err *wire.Error, now clock.Instant) {
	ev := d.ev
	l := r.alone(ev.Src, &ev.Event, d.route.Letters, now)
	l.hasInput = true
	l.input, l.fault = letter.Write(&ev.Event, d.route.Name, err, d.history)
	r.offer(l, now)
	if l.state == queued {
		r.record(observe.Queued, l.ev, l, nil, now)
	}
	r.events.Release(l.ev)
}

// lostLetter says that a dead letter could not be delivered. That is the end
// of it: letters have no letters.
func (r *Router) lostLetter(d *delivery, err *wire.Error) {
	log, name, id, typ := r.log, d.route.Owner.Name, d.ev.ID, d.ev.Type
	r.later = append(r.later, func() {
		log.Error("a dead letter could not be delivered; host events dead has it", "route", name, "event", id.String(), "type", typ, "error", err)
	})
}

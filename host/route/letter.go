package route

import (
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/letter"
	"github.com/pluginhost/host/sdk/wire"
)

// remembered bounds the attempts told in a dead letter: the last ones.
const remembered = 16

// remember keeps a failed attempt for the dead letter, where there may be one.
func (d *delivery) remember(err *wire.Error, now clock.Instant) {
	if d.route.letters == nil {
		return
	}
	if len(d.history) == remembered {
		d.history = append(d.history[:0], d.history[1:]...)
	}
	d.history = append(d.history, letter.Failure{Attempt: d.attempt, Time: now.Wall, Error: err})
}

// deadLetter queues the letter that tells of a delivery that failed for good.
// It is a delivery of its own to another action, under the route's policy but
// for order, deadline and dead letter; nobody waits for it.
func (r *Router) deadLetter(d *delivery, err *wire.Error, now clock.Instant) {
	ev, rt := d.ev, d.route.letters
	e := r.events.New(ev.Src, 0, &ev.Event, now)
	e.Deadline, e.Until = 0, 0
	e.Letter, e.Accepted = true, true
	e.Deliveries = e.One[:1]
	l := &e.Deliveries[0]
	l.begin(e, rt)
	l.hasInput = true
	l.input, l.fault = letter.Write(&ev.Event, d.route.name, err, d.history)
	e.Open++
	r.open++
	r.offer(l, now)
	if l.state == queued {
		r.record(observe.Queued, e, l, nil, now)
	}
	r.events.Release(e)
}

// lostLetter says that a dead letter could not be delivered. That is the end
// of it: letters have no letters.
func (r *Router) lostLetter(d *delivery, err *wire.Error) {
	log, name, id, typ := r.log, d.route.owner.name, d.ev.ID, d.ev.Type
	r.later = append(r.later, func() {
		log.Error("a dead letter could not be delivered and is lost", "route", name, "event", id.String(), "type", typ, "error", err)
	})
}

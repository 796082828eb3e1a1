package carrier

import (
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/letter"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

// remember keeps a failed attempt for the dead letter, where there may be one.
func (d *Delivery) remember(err *wire.Error, now clock.Instant) {
	if d.Route.Letters != nil {
		d.History = letter.Remember(d.History, observe.Attempt{Attempt: d.Attempt, Time: now.Wall, Err: reason.Brief(err)})
	}
}

// deadLetter queues the letter that tells of a delivery that failed for good.
// It is a delivery of its own to another action, under the route's policy but
// for order, deadline and dead letter; nobody waits for it.
func (r *Carrier) deadLetter(d *Delivery, err *wire.Error, now clock.Instant) {
	ev := d.Ev
	l := r.Alone(ev.Src, &ev.Event, d.Route.Letters, now)
	l.HasInput = true
	l.Input, l.Fault = letter.Write(&ev.Event, d.Route.Name, reason.Brief(err), d.History)
	r.Offer(l, now)
	if l.State == Queued {
		r.Record(observe.Queued, l.Ev, l, nil, now)
	}
	r.Events.Release(l.Ev)
}

// lostLetter says that a dead letter could not be delivered. That is the end
// of it: letters have no letters.
func (r *Carrier) lostLetter(d *Delivery, err *wire.Error) {
	log, name, id, typ := r.Log, d.Route.Owner.Name, d.Ev.ID, d.Ev.Type
	r.Later = append(r.Later, func() {
		log.Error("a dead letter could not be delivered; host events dead has it", "route", name, "event", id.String(), "type", typ, "error", err)
	})
}

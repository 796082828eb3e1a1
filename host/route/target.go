package route

import (
	"errors"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

func (r *Router) target(address string) *target {
	t := r.targets[address]
	if t == nil {
		t = &target{Address: address}
		r.targets[address] = t
	}
	return t
}

// dispatch hands out what credit allows. It is a loop over targets and not a
// recursion: a delivery that cannot be handed out is finished, and that may
// stir others.
func (r *Router) dispatch(now clock.Instant) {
	for rt, k := r.dirty.Next(); rt != nil; rt, k = r.dirty.Next() {
		r.handOut(rt.Waiting.First(), k.Of, now)
		r.dirty.Stir(rt)
	}
}

// handOut begins an attempt of a delivery at an instance.
func (r *Router) handOut(d *delivery, i *Inbox, now clock.Instant) {
	rt, ev := d.route, d.ev
	if ev.Until != 0 && ev.Until <= now.Mono {
		r.expire(d, now)
		return
	}
	ev.Open++ // the delivery may be finished below
	r.leave(d)
	if d.home != i {
		if d.home != nil {
			d.home.numbers.Remove(d.number)
		}
		d.home, d.number = i, i.numbers.Add(d, &rt.Book)
	}
	d.attempt++
	d.state = inFlight
	d.sent = now.Mono
	rt.InFlight++
	i.desk.Spend()
	r.limit(d, now)

	r.deliver = wire.Deliver{
		Delivery: d.number, Attempt: d.attempt, Instance: i.a.Handle, Action: uint32(rt.Action),
		Event: ev.Event, Input: d.input, HasInput: d.hasInput,
	}
	if d.due != 0 {
		r.deliver.Deadline = now.OnWall(d.due)
	}
	r.record(observe.Delivered, ev, d, nil, now)
	r.touch(i.a.Outlet)
	switch err := i.a.Outlet.Deliver(&r.deliver); {
	case err == nil:
	case errors.Is(err, wire.ErrTooLarge):
		i.desk.Credit++
		r.fail(d, reason.Located(reason.Unsendable(err), i.a.Address, i.a.Version), now)
	default:
		i.desk.Broken = true // its Close will come and give up what is in flight
	}
	r.admit(rt, now)
	r.events.Release(ev)
}

// limit sets until when the current attempt may be settled: the route's
// timeout, or the event's deadline when that comes first.
func (r *Router) limit(d *delivery, now clock.Instant) {
	rt, deadline := d.route, d.ev.Until
	d.due = deadline
	if t := int64(rt.Policy.Timeout); t > 0 && (deadline == 0 || now.Mono+t <= deadline) {
		d.due = now.Mono + t
		d.onRoute = true
		rt.Flight.PushBack(&d.line)
		r.before(d.due)
		return
	}
	r.arm(d, deadline)
}

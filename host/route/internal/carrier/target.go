package carrier

import (
	"errors"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

// Target returns what is at an address, and makes it where there is nothing.
func (r *Carrier) Target(address string) *Target {
	t := r.Targets[address]
	if t == nil {
		t = &Target{Address: address}
		r.Targets[address] = t
	}
	return t
}

// Dispatch hands out what credit allows. It is a loop over targets and not a
// recursion: a delivery that cannot be handed out is finished, and that may
// stir others.
func (r *Carrier) Dispatch(now clock.Instant) {
	for rt, k := r.Dirty.Next(); rt != nil; rt, k = r.Dirty.Next() {
		r.handOut(rt.Waiting.First(), k.Of, now)
		r.Dirty.Stir(rt)
	}
}

// handOut begins an attempt of a delivery at an instance.
func (r *Carrier) handOut(d *Delivery, i *Inbox, now clock.Instant) {
	rt, ev := d.Route, d.Ev
	if ev.Until != 0 && ev.Until <= now.Mono {
		r.expire(d, now)
		return
	}
	ev.Open++ // the delivery may be finished below
	r.leave(d)
	if d.Home != i {
		if d.Home != nil {
			d.Home.numbers.Remove(d.number)
		}
		d.Home, d.number = i, i.numbers.Add(d, &rt.Book)
	}
	d.Attempt++
	rt.Book.Attempts++
	d.State = InFlight
	d.Sent = now.Mono
	rt.InFlight++
	i.Desk.Spend()
	r.limit(d, now)

	r.deliver = wire.Deliver{
		Delivery: d.number, Attempt: d.Attempt, Instance: i.a.Handle, Action: uint32(rt.Action),
		Event: ev.Event, Input: d.Input, HasInput: d.HasInput,
	}
	if d.Due != 0 {
		r.deliver.Deadline = now.OnWall(d.Due)
	}
	r.Record(observe.Delivered, ev, d, nil, now)
	r.touch(i.a.Outlet)
	switch err := i.a.Outlet.Deliver(&r.deliver); {
	case err == nil:
	case errors.Is(err, wire.ErrTooLarge):
		i.Desk.Credit++
		r.fail(d, reason.Located(reason.Unsendable(err), i.a.Address, i.a.Version), now)
	default:
		i.Desk.Broken = true // its Close will come and give up what is in flight
	}
	r.Admit(rt, now)
	r.Events.Release(ev)
}

// limit sets until when the current attempt may be settled: the route's
// timeout, or the event's deadline when that comes first.
func (r *Carrier) limit(d *Delivery, now clock.Instant) {
	rt, deadline := d.Route, d.Ev.Until
	d.Due = deadline
	if t := int64(rt.Policy.Timeout); t > 0 && (deadline == 0 || now.Mono+t <= deadline) {
		d.Due = now.Mono + t
		d.OnRoute = true
		rt.Flight.PushBack(&d.Line)
		r.before(d.Due)
		return
	}
	r.Arm(d, deadline)
}

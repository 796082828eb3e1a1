package carrier

import (
	"github.com/pluginhost/host/host/route/internal/book"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/queue"
	"github.com/pluginhost/host/host/route/internal/reason"
)

// Route is the queue of one route.
type Route = queue.Route[Delivery, Inbox]

// Target is the address that it leads to.
type Target = queue.Target[Delivery, Inbox]

// Offer gives a delivery to its route, which takes it or finishes it.
func (r *Carrier) Offer(d *Delivery, now clock.Instant) {
	rt := d.Route
	rt.Book.Take()
	switch {
	case d.Fault != nil:
	case rt.Hopeless() != nil:
		d.Fault = rt.Hopeless()
	case rt.Room() || rt.Blocks():
	case rt.DropsOldest() && rt.Waiting.Oldest() != nil:
		r.finish(rt.Waiting.Oldest(), book.Dropped, nil, reason.QueueFull("dropped as the oldest", rt.Name, rt.Waiting.Len()), now)
	default:
		d.Fault = reason.QueueFull("refused", rt.Name, rt.Waiting.Len())
		r.finish(d, book.Rejected, nil, d.Fault, now)
		return
	}
	if d.Fault != nil {
		r.fail(d, d.Fault, now)
		return
	}
	r.seq++
	d.seq = r.seq
	d.State = Queued
	rt.Waiting.Push(&d.Waiter)
	r.Dirty.Stir(rt)
}

// Admit takes parked deliveries while there is room. A route that was replaced
// and keeps an order takes them all, so that they come before what its successor
// takes: they are as many as the windows of their sources.
func (r *Carrier) Admit(rt *Route, now clock.Instant) {
	for !rt.Parked.Empty() && (rt.Waiting.Len() < rt.Limit() || rt.Retired && rt.Waiting.Ordered()) {
		d := rt.Parked.First()
		rt.Parked.Remove(&d.Line)
		r.Alarms.Remove(&d.Alarm)
		d.State = Idle
		ev := d.Ev
		ev.Parked--
		ev.Open++ // offer may finish the delivery
		r.Offer(d, now)
		r.Arm(d, ev.Until)
		if ev.Parked == 0 {
			r.Events.Accept(ev, now)
		}
		r.Events.Release(ev)
	}
}

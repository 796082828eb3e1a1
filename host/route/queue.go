package route

import (
	"github.com/pluginhost/host/host/route/internal/book"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/queue"
	"github.com/pluginhost/host/host/route/internal/reason"
)

// route is the queue of one route, target the address that it leads to.
type (
	route  = queue.Route[delivery, Inbox]
	target = queue.Target[delivery, Inbox]
)

// offer gives a delivery to its route, which takes it or finishes it.
func (r *Router) offer(d *delivery, now clock.Instant) {
	rt := d.route
	rt.Book.Take()
	switch {
	case d.fault != nil:
	case rt.Hopeless() != nil:
		d.fault = rt.Hopeless()
	case rt.Room() || rt.Blocks():
	case rt.DropsOldest() && rt.Waiting.Oldest() != nil:
		r.finish(rt.Waiting.Oldest(), book.Dropped, nil, reason.QueueFull("dropped as the oldest", rt.Name, rt.Waiting.Len()), now)
	default:
		d.fault = reason.QueueFull("refused", rt.Name, rt.Waiting.Len())
		r.finish(d, book.Rejected, nil, d.fault, now)
		return
	}
	if d.fault != nil {
		r.fail(d, d.fault, now)
		return
	}
	r.seq++
	d.seq = r.seq
	d.state = queued
	rt.Waiting.Push(&d.Waiter)
	r.dirty.Stir(rt)
}

// admit takes parked deliveries while there is room.
func (r *Router) admit(rt *route, now clock.Instant) {
	for !rt.Parked.Empty() && rt.Waiting.Len() < rt.Limit() {
		d := rt.Parked.First()
		rt.Parked.Remove(&d.line)
		r.alarms.Remove(&d.alarm)
		d.state = idle
		ev := d.ev
		ev.Parked--
		ev.Open++ // offer may finish the delivery
		r.offer(d, now)
		r.arm(d, ev.Until)
		if ev.Parked == 0 {
			r.events.Accept(ev, now)
		}
		r.events.Release(ev)
	}
}

package route

import (
	"strings"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/route/internal/book"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/line"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

// Values of config.Delivery.
const (
	overflowReject     = "reject"
	overflowDropOldest = "drop_oldest"
	orderSubject       = "subject"
)

// route is the queue of one route with its policy. It outlives the table that
// it was made for as long as something waits in it or is in flight.
type route struct {
	name    string
	id      string // equal ones are equal routes
	from    string
	to      config.Endpoint
	policy  config.Delivery
	target  *target
	action  int    // index of to.Name in the attached instance, -1 when it has none
	retired bool   // not in the table any more
	letters *route // carries its dead letters, or nil
	owner   *route // of which this carries the dead letters, or nil

	waiting  line.Queue[delivery]
	parked   line.List[delivery] // what the queue has no room for
	flight   line.List[delivery] // in flight, by the end of their attempts; see Router.limit
	inflight int

	active bool // in the target's ring
	turn   line.Node[route]
	book   book.Book
}

func (r *Router) newRoute(c *config.Route) *route {
	rt := &route{name: c.Name, id: c.Name + "\x00" + c.Text, to: c.To, policy: c.Delivery, target: r.target(c.To.Instance)}
	var from []string
	for _, f := range c.From {
		from = append(from, f.Instance+"."+f.Name)
	}
	rt.from = strings.Join(from, ", ")
	if rt.policy.Order == orderSubject {
		rt.waiting.Order()
	}
	if to := c.Delivery.DeadLetter; to != nil {
		rt.letters = &route{name: c.Name + " (dead letters)", from: c.Name, to: *to, policy: c.Delivery,
			target: r.target(to.Instance), owner: rt}
		p := &rt.letters.policy
		p.DeadLetter, p.Await, p.Order, p.Overflow = nil, false, "", overflowReject
		rt.letters.target.adopt(rt.letters)
	}
	rt.target.adopt(rt)
	return rt
}

// family returns a route and the one that carries its dead letters.
func (rt *route) family() []*route {
	switch {
	case rt.owner != nil:
		return []*route{rt.owner, rt}
	case rt.letters != nil:
		return []*route{rt, rt.letters}
	}
	return []*route{rt}
}

// blocks reports whether emitters wait when the queue is full.
func (rt *route) blocks() bool {
	return rt.target.gone == nil && rt.policy.Overflow != overflowReject && rt.policy.Overflow != overflowDropOldest
}

// room reports whether the queue takes one more, and nobody came earlier.
func (rt *route) room() bool { return rt.waiting.Len() < max(rt.policy.Queue, 1) && rt.parked.Empty() }

// busy reports whether there is anything unfinished.
func (rt *route) busy() bool { return rt.waiting.Len() > 0 || rt.inflight > 0 || !rt.parked.Empty() }

// runnable reports whether something could be handed out to an instance.
func (rt *route) runnable() bool {
	return rt.waiting.First() != nil && rt.action >= 0 && (rt.policy.Concurrency <= 0 || rt.inflight < rt.policy.Concurrency)
}

// offer gives a delivery to its route, which takes it or finishes it.
func (r *Router) offer(d *delivery, now clock.Instant) {
	rt := d.route
	rt.book.Take()
	switch {
	case d.fault != nil:
	case rt.hopeless() != nil:
		d.fault = rt.hopeless()
	case rt.room() || rt.blocks():
	case rt.policy.Overflow == overflowDropOldest && rt.waiting.Oldest() != nil:
		r.finish(rt.waiting.Oldest(), book.Dropped, nil, reason.QueueFull("dropped as the oldest", rt.name, rt.waiting.Len()), now)
	default:
		d.fault = reason.QueueFull("refused", rt.name, rt.waiting.Len())
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
	rt.waiting.Push(&d.Waiter)
	r.stir(rt)
}

// hopeless returns why nothing that is queued here can ever be handed out, or
// nil. A live route without an instance, or whose instance does not have the
// action, waits for the one that its generation brings; a retired one does not.
func (rt *route) hopeless() *wire.Error {
	t := rt.target
	if t.gone != nil {
		return t.gone
	}
	if rt.retired && t.inbox != nil && rt.action < 0 {
		return reason.NoAction(t.address, t.inbox.a.Version, rt.to.Name)
	}
	return nil
}

// admit takes parked deliveries while there is room.
func (r *Router) admit(rt *route, now clock.Instant) {
	for !rt.parked.Empty() && rt.waiting.Len() < max(rt.policy.Queue, 1) {
		d := rt.parked.First()
		rt.parked.Remove(&d.line)
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

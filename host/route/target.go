package route

import (
	"errors"
	"slices"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/line"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

// target is an instance address that routes lead to. Instances come and go
// there; what is queued stays.
type target struct {
	address string
	inbox   *Inbox           // of the instance that gets what is new, or nil
	gone    *wire.Error      // why there will be no instance, or nil
	routes  []*route         // live and retired
	ring    line.List[route] // those that have something to hand out, by turn
	dirty   bool             // in Router.dirty
}

func (r *Router) target(address string) *target {
	t := r.targets[address]
	if t == nil {
		t = &target{address: address}
		r.targets[address] = t
	}
	return t
}

func (t *target) adopt(rt *route) {
	rt.turn.Of = rt
	t.routes = append(t.routes, rt)
	t.bind(rt)
}

// bind finds a route's action in the attached instance.
func (t *target) bind(rt *route) {
	rt.action = -1
	if t.inbox != nil {
		rt.action = slices.Index(t.inbox.a.Actions, rt.to.Name)
	}
}

// stir puts a route that has something to hand out into its target's ring, and
// has the target looked at before the lock is given up.
func (r *Router) stir(rt *route) {
	t := rt.target
	if !rt.active && rt.runnable() {
		rt.active = true
		t.ring.PushBack(&rt.turn)
	}
	if rt.active {
		r.soil(t)
	}
}

func (r *Router) soil(t *target) {
	if !t.dirty {
		t.dirty = true
		r.dirty = append(r.dirty, t)
	}
}

// dispatch hands out what credit allows, route by route in turn. It is a loop
// over targets and not a recursion: a delivery that cannot be handed out is
// finished, and that may stir others.
func (r *Router) dispatch(now clock.Instant) {
	for len(r.dirty) > 0 {
		t := r.dirty[len(r.dirty)-1]
		r.dirty = r.dirty[:len(r.dirty)-1]
		t.dirty = false
		for !t.ring.Empty() && t.inbox != nil && t.inbox.open() {
			rt := t.ring.First()
			t.ring.Remove(&rt.turn)
			rt.active = false
			if rt.runnable() {
				r.handOut(rt.waiting.First(), t.inbox, now)
				r.stir(rt)
			}
		}
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
		d.home, d.number = i, i.numbers.Add(d, rt)
	}
	d.attempt++
	d.state = inFlight
	d.sent = now.Mono
	rt.inflight++
	i.inflight++
	i.credit--
	r.limit(d, now)

	r.deliver = wire.Deliver{
		Delivery: d.number, Attempt: d.attempt, Instance: i.a.Handle, Action: uint32(rt.action),
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
		i.credit++
		r.fail(d, i.located(reason.Unsendable(err)), now)
	default:
		i.broken = true // its Close will come and give up what is in flight
	}
	r.admit(rt, now)
	r.events.Release(ev)
}

// limit sets until when the current attempt may be settled: the route's
// timeout, or the event's deadline when that comes first.
func (r *Router) limit(d *delivery, now clock.Instant) {
	rt, deadline := d.route, d.ev.Until
	d.due = deadline
	if t := int64(rt.policy.Timeout); t > 0 && (deadline == 0 || now.Mono+t <= deadline) {
		d.due = now.Mono + t
		d.onRoute = true
		rt.flight.PushBack(&d.line)
		r.before(d.due)
		return
	}
	r.arm(d, deadline)
}

package route

import (
	"time"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/book"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/line"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/host/route/internal/token"
	"github.com/pluginhost/host/sdk/wire"
)

// state says where a delivery is.
type state uint8

const (
	fresh    state = iota // not given to its route yet
	idle                  // nowhere: on its way from one state to another, or finished
	parked                // its route has no room: in route.parked
	queued                // in route.waiting: ready, held by its subject, or resting until its next attempt
	inFlight              // handed out: in Inbox.numbers, and in route.flight if onRoute
	detached              // waits for whoever has its token
)

// delivery is one event on one route, with its attempts.
type delivery struct {
	ev       *event
	route    *route
	state    state
	await    bool // the promise waits for it
	first    bool // of those it waits for: gives the value
	hasInput bool
	attempt  uint32 // number of the current or last one
	spared   uint32 // attempts that do not count, since host itself took them back
	home     *Inbox // where it was handed out last, or nil
	number   uint64 // there
	sent     int64  // mono: when the attempt began
	due      int64  // mono: when the attempt ends, 0 for never
	onRoute  bool   // its attempt's end is in route.flight, else it is an alarm
	seq      uint64 // order of being taken
	line.Waiter[delivery]
	line    line.Node[delivery] // in route.parked or route.flight
	alarm   line.Alarm[delivery]
	input   []byte
	fault   *wire.Error // found before it was queued
	history []observe.Attempt
	token   string // while it is detached
}

// begin makes an empty delivery that of an event on a route.
func (d *delivery) begin(ev *event, rt *route) {
	d.ev, d.route, d.await = ev, rt, rt.Policy.Await
	d.line.Of, d.alarm.Of = d, d
	d.Init(d, ev.Subject)
}

// leave takes a delivery out of whatever its state put it into.
func (r *Router) leave(d *delivery) {
	rt := d.route
	switch d.state {
	case parked:
		rt.Parked.Remove(&d.line)
	case queued:
		rt.Waiting.Take(&d.Waiter)
	case inFlight:
		if d.onRoute {
			rt.Flight.Remove(&d.line)
			d.onRoute = false
		}
		rt.InFlight--
		d.home.desk.InFlight--
		r.dirty.Stir(rt)
	case detached:
		rt.Detached--
		rt.Target.Detached--
		r.tokens.End(d.token, token.Stale)
		d.token = ""
	}
	d.state = idle
	r.alarms.Remove(&d.alarm)
	if rt.Retired && !rt.Busy() {
		r.swept = false
	}
}

// fail ends a delivery for good, without success: with a dead letter if its
// route wants one and host is there to carry it.
func (r *Router) fail(d *delivery, err *wire.Error, now clock.Instant) {
	how := book.Rejected
	if d.route.Letters != nil && d.state != parked && !r.closed {
		how = book.Dead
		r.bury(d, err, now)
		r.deadLetter(d, err, now)
	}
	r.finish(d, how, nil, err, now)
}

// finish ends a delivery. value and err are the promise's if it waits for it.
func (r *Router) finish(d *delivery, how book.Ending, value []byte, err *wire.Error, now clock.Instant) {
	rt, ev := d.route, d.ev
	taken := d.state != parked // else it is in no ledger of its route
	r.leave(d)
	if d.home != nil {
		d.home.numbers.Remove(d.number)
		d.home = nil
	}
	rt.Waiting.Done(&d.Waiter)
	r.dirty.Stir(rt)
	if taken {
		rt.Book.End(how, err)
	}
	step := observe.Settled
	switch {
	case how == book.Dead:
		step = observe.DeadLettered
	case how == book.Dropped:
		step = observe.Dropped
	case how == book.Rejected && rt.Owner != nil:
		r.lostLetter(d, err)
	}
	r.record(step, ev, d, err, now)
	if d.await {
		r.events.Answered(ev, d.first, value, err, now)
		if ev.Settled && ev.Awaiting > 0 {
			r.abandon(ev, reason.Rejected(rt.Name), wire.Rejected, now)
		}
	}
	if taken {
		r.admit(rt, now)
	} else if ev.Parked--; ev.Parked == 0 {
		r.events.Accept(ev, now)
	}
	r.open--
	r.events.Release(ev)
	if r.open == 0 {
		close(r.idle)
		r.idle = make(chan struct{})
	}
}

// used returns how many attempts count against the route's limit.
func (d *delivery) used() int { return int(d.attempt - d.spared) }

// retry gives up the current attempt after a failure: the delivery waits for
// its next one, or is finished with err when there is none. at once is for a
// failure that was not the handler's answer.
func (r *Router) retry(d *delivery, err *wire.Error, atOnce bool, now clock.Instant) {
	rt, ev := d.route, d.ev
	d.remember(err, now)
	pause := clock.Pause(rt.Policy.Backoff, rt.Policy.MaxBackoff, d.used())
	if atOnce {
		pause = 0
	}
	if !err.Retryable || d.used() >= max(rt.Policy.Attempts, 1) || ev.Until != 0 && now.Mono+int64(pause) >= ev.Until {
		r.fail(d, err, now)
		return
	}
	r.again(d, err, pause, now)
}

// again queues a delivery whose attempt was given up, before those that came
// later, for whoever is attached after the pause.
func (r *Router) again(d *delivery, err *wire.Error, pause time.Duration, now clock.Instant) {
	rt := d.route
	if hopeless := rt.Hopeless(); hopeless != nil {
		r.fail(d, hopeless, now)
		return
	}
	r.leave(d)
	rt.Book.Retries++
	r.events.Book.Retries++
	r.record(observe.Retrying, d.ev, d, err, now)
	d.state = queued
	rt.Waiting.Return(&d.Waiter, pause > 0)
	if pause > 0 {
		r.arm(d, now.Mono+int64(pause))
		return
	}
	r.arm(d, d.ev.Until)
	r.dirty.Stir(rt)
}

// timeout gives up an attempt that was not settled in time.
func (r *Router) timeout(d *delivery, now clock.Instant) {
	i := d.home
	if i == nil {
		r.retry(d, reason.NotRedeemed(d.route.Target.Address, d.route.To.Name, now.Since(d.sent), d.attempt), false, now)
		return
	}
	err := reason.NoAnswer(i.a.Address, d.route.To.Name, now.Since(d.sent), d.attempt)
	r.touch(i.a.Outlet)
	_ = i.a.Outlet.Cancel(d.number, d.attempt, wire.TimedOut)
	r.retry(d, reason.Located(err, i.a.Address, i.a.Version), false, now)
}

// expire ends a delivery whose event's deadline passed while it waited.
func (r *Router) expire(d *delivery, now clock.Instant) {
	rt := d.route
	why := "had no credit left"
	switch {
	case d.state == parked:
		why = "had a full queue"
	case d.Held():
		why = "was busy with its subject"
	case rt.Target.Desk == nil:
		why = "was not running"
	}
	r.fail(d, reason.Expired(rt.Target.Address, why, now.Since(d.ev.Born)), now)
}

package carrier

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

// State says where a delivery is.
type State uint8

// States.
const (
	Fresh    State = iota // not given to its route yet
	Idle                  // nowhere: on its way from one state to another, or finished
	Parked                // its route has no room: in route.parked
	Queued                // in route.waiting: ready, held by its subject, or resting until its next attempt
	InFlight              // handed out: in Inbox.numbers, and in route.flight if onRoute
	Detached              // waits for whoever has its token
)

// Delivery is one event on one route, with its attempts.
type Delivery struct {
	Ev       *Event
	Route    *Route
	State    State
	Await    bool // the promise waits for it
	First    bool // of those it waits for: gives the value
	HasInput bool
	Attempt  uint32 // number of the current or last one
	spared   uint32 // attempts that do not count, since host itself took them back
	Home     *Inbox // where it was handed out last, or nil
	number   uint64 // there
	Sent     int64  // mono: when the attempt began
	Due      int64  // mono: when the attempt ends, 0 for never
	OnRoute  bool   // its attempt's end is in route.flight, else it is an alarm
	seq      uint64 // order of being taken
	line.Waiter[Delivery]
	Line    line.Node[Delivery] // in route.parked or route.flight
	Alarm   line.Alarm[Delivery]
	Input   []byte
	Fault   *wire.Error // found before it was queued
	History []observe.Attempt
	Token   string // while it is detached
}

// Begin makes an empty delivery that of an event on a route.
func (d *Delivery) Begin(ev *Event, rt *Route) {
	d.Ev, d.Route, d.Await = ev, rt, rt.Policy.Await
	d.Line.Of, d.Alarm.Of = d, d
	d.Init(d, ev.Subject)
}

// leave takes a delivery out of whatever its state put it into.
func (r *Carrier) leave(d *Delivery) {
	rt := d.Route
	switch d.State {
	case Parked:
		rt.Parked.Remove(&d.Line)
	case Queued:
		rt.Waiting.Take(&d.Waiter)
	case InFlight:
		if d.OnRoute {
			rt.Flight.Remove(&d.Line)
			d.OnRoute = false
		}
		rt.InFlight--
		d.Home.Desk.InFlight--
		r.Dirty.Stir(rt)
	case Detached:
		rt.Detached--
		rt.Target.Detached--
		r.Tokens.End(d.Token, token.Stale)
		d.Token = ""
	}
	d.State = Idle
	r.Alarms.Remove(&d.Alarm)
	if rt.Retired && !rt.Busy() {
		r.Swept = false
	}
}

// fail ends a delivery for good, without success: with a dead letter if its
// route wants one and host is there to carry it.
func (r *Carrier) fail(d *Delivery, err *wire.Error, now clock.Instant) {
	how := book.Rejected
	if d.Route.Letters != nil && d.State != Parked && !r.Closed {
		how = book.Dead
		r.bury(d, err, now)
		r.deadLetter(d, err, now)
	}
	r.finish(d, how, nil, err, now)
}

// finish ends a delivery. value and err are the promise's if it waits for it.
func (r *Carrier) finish(d *Delivery, how book.Ending, value []byte, err *wire.Error, now clock.Instant) {
	rt, ev := d.Route, d.Ev
	taken := d.State != Parked // else it is in no ledger of its route
	r.leave(d)
	if d.Home != nil {
		d.Home.numbers.Remove(d.number)
		d.Home = nil
	}
	if next := rt.Waiting.Done(&d.Waiter); next != nil && next.Route != rt {
		r.Dirty.Stir(next.Route) // of another generation
	}
	r.Dirty.Stir(rt)
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
	r.Record(step, ev, d, err, now)
	if d.Await {
		r.Events.Answered(ev, d.First, value, err, now)
		if ev.Settled && ev.Awaiting > 0 {
			r.abandon(ev, reason.Rejected(rt.Name), wire.Rejected, now)
		}
	}
	if taken {
		r.Admit(rt, now)
	} else if ev.Parked--; ev.Parked == 0 {
		r.Events.Accept(ev, now)
	}
	r.Open--
	r.Events.Release(ev)
	if r.Open == 0 {
		close(r.idle)
		r.idle = make(chan struct{})
	}
}

// Allowed returns the number of the last attempt that the delivery may have.
func (d *Delivery) Allowed() int { return max(d.Route.Policy.Attempts, 1) + int(d.spared) }

// used returns how many attempts count against the route's limit.
func (d *Delivery) used() int { return int(d.Attempt - d.spared) }

// retry gives up the current attempt after a failure: the delivery waits for
// its next one, or is finished with err when there is none. at once is for a
// failure that was not the handler's answer.
func (r *Carrier) retry(d *Delivery, err *wire.Error, atOnce bool, now clock.Instant) {
	rt, ev := d.Route, d.Ev
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
func (r *Carrier) again(d *Delivery, err *wire.Error, pause time.Duration, now clock.Instant) {
	rt := d.Route
	if hopeless := rt.Hopeless(); hopeless != nil {
		r.fail(d, hopeless, now)
		return
	}
	r.leave(d)
	rt.Book.Retries++
	r.Events.Book.Retries++
	r.Record(observe.Retrying, d.Ev, d, err, now)
	d.State = Queued
	rt.Waiting.Return(&d.Waiter, pause > 0)
	if pause > 0 {
		r.Arm(d, now.Mono+int64(pause))
		return
	}
	r.Arm(d, d.Ev.Until)
	r.Dirty.Stir(rt)
}

// timeout gives up an attempt that was not settled in time.
func (r *Carrier) timeout(d *Delivery, now clock.Instant) {
	i := d.Home
	if i == nil {
		r.retry(d, reason.NotRedeemed(d.Route.Target.Address, d.Route.To.Name, now.Since(d.Sent), d.Attempt), false, now)
		return
	}
	err := reason.NoAnswer(i.a.Address, d.Route.To.Name, now.Since(d.Sent), d.Attempt)
	r.touch(i.a.Outlet)
	_ = i.a.Outlet.Cancel(d.number, d.Attempt, wire.TimedOut)
	r.retry(d, reason.Located(err, i.a.Address, i.a.Version), false, now)
}

// expire ends a delivery whose event's deadline passed while it waited.
func (r *Carrier) expire(d *Delivery, now clock.Instant) {
	rt := d.Route
	why := "had no credit left"
	switch {
	case d.State == Parked:
		why = "had a full queue"
	case d.Held():
		why = "was busy with its subject"
	case rt.Target.Desk == nil:
		why = "was not running"
	}
	r.fail(d, reason.Expired(rt.Target.Address, why, now.Since(d.Ev.Born)), now)
}

// Package carrier carries deliveries: it queues them on their routes, hands them
// to instances that have credit, retries, and ends them. The router matches
// events, gives it what they make, and shows what it holds. What is exported
// here without a word on locks is guarded by Mu and is the router's to use, and
// nobody else's.
package carrier

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/emission"
	"github.com/pluginhost/host/host/route/internal/grave"
	"github.com/pluginhost/host/host/route/internal/line"
	"github.com/pluginhost/host/host/route/internal/queue"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/host/route/internal/token"
	"github.com/pluginhost/host/sdk/wire"
)

// Carrier holds the deliveries of a router.
type Carrier struct {
	Log   hclog.Logger
	Clock clock.Clock
	wake  chan struct{} // to Run: there is an earlier deadline

	Mu      sync.Mutex // see package route
	Closed  bool       // Run has ended: nothing is taken any more
	Targets map[string]*Target
	Inboxes map[*Inbox]struct{} // attached and not closed
	Swept   bool                // no retired route has become idle since
	seq     uint64              // of the last delivery taken
	Alarms  line.Heap[Delivery]
	next    int64 // when Run looks again; never if 0
	Dirty   queue.Dirty[Delivery, Inbox]
	Later   []func()              // to be done without the lock
	Open    int                   // deliveries not finished, parked ones included
	idle    chan struct{}         // closed, and replaced, when Open becomes 0
	Tokens  token.Table[Delivery] // of detached ones
	Graves  grave.Yard
	Refused map[string]uint64 // settles that were not taken, by reason: a few words of host's own
	Events  *emission.Register[Delivery, Cache]
	deliver wire.Deliver // what is being sent: one at a time
}

// New returns a carrier of nothing. A nil recorder records nothing.
func New(log hclog.Logger, rec *observe.Recorder) *Carrier {
	return &Carrier{
		Log: log, Clock: clock.New(), Events: emission.NewRegister[Delivery, Cache](rec),
		wake: make(chan struct{}, 1), idle: make(chan struct{}),
		Targets: map[string]*Target{}, Inboxes: map[*Inbox]struct{}{}, Refused: map[string]uint64{},
	}
}

// Unlock hands out what can be handed out, then gives up the lock and does
// what had to wait for that. Whoever may have told an outlet or a replier
// something unlocks with it.
func (r *Carrier) Unlock(now clock.Instant) {
	r.Dispatch(now)
	later := r.Later
	r.Later = nil
	var few [8]Flusher
	r.Events.Recorded()
	told := r.Events.Told.Take(few[:0])
	if !r.Swept {
		r.sweep()
	}
	r.Mu.Unlock()
	for _, f := range told {
		f.Flush()
	}
	for _, f := range later {
		f()
	}
}

// Run keeps deadlines, retries and timeouts until ctx ends; then it rejects
// what is pending with Unavailable, draining, and returns nil. Events emitted
// after that are rejected likewise.
func (r *Carrier) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if wait, ok := r.tick(); ok {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-timer.C:
		case <-r.wake:
		case <-ctx.Done():
			r.shut()
			return nil
		}
	}
}

// shut rejects everything that is pending.
func (r *Carrier) shut() {
	now := r.Clock.Now()
	r.Mu.Lock()
	r.Closed = true
	err := reason.Shutdown()
	for i := range r.Inboxes {
		for _, d := range i.Flying() {
			if d.State == InFlight { // else it ended with one before
				r.fail(d, reason.Located(err, i.a.Address, i.a.Version), now)
			}
		}
	}
	for _, d := range r.Tokens.All() {
		if d.State == Detached {
			r.fail(d, err, now)
		}
	}
	for _, t := range r.Targets {
		for _, rt := range t.Routes {
			r.reject(rt, err, now)
		}
	}
	r.Unlock(now)
}

// reject ends all that waits in or for a route.
func (r *Carrier) reject(rt *Route, err *wire.Error, now clock.Instant) {
	for !rt.Parked.Empty() {
		r.fail(rt.Parked.First(), err, now)
	}
	for d := rt.Waiting.Oldest(); d != nil; d = rt.Waiting.Oldest() {
		r.fail(d, err, now)
	}
}

// RejectHopeless does so when nothing can be handed out any more.
func (r *Carrier) RejectHopeless(rt *Route, now clock.Instant) {
	if err := rt.Hopeless(); err != nil {
		r.reject(rt, err, now)
	}
}

// Idle returns when nothing is pending, or with ctx's error.
func (r *Carrier) Idle(ctx context.Context) error {
	r.Mu.Lock()
	open, idle := r.Open, r.idle
	r.Mu.Unlock()
	if open == 0 {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sweep forgets retired routes that have nothing left to do, and targets that
// nobody names.
func (r *Carrier) sweep() {
	r.Swept = true
	for address, t := range r.Targets {
		if t.Sweep() {
			delete(r.Targets, address)
		}
	}
}

// Forget says that the instance at address is gone for good: what waits for it
// is rejected as Unavailable for the reason why, and so is what comes later,
// until an instance attaches there again. What is in flight may still be settled.
func (r *Carrier) Forget(address string, why *wire.Error) {
	now := r.Clock.Now()
	r.Mu.Lock()
	defer r.Unlock(now)
	t := r.Targets[address]
	if t == nil {
		return
	}
	t.Gone = reason.Gone(address)
	if why != nil {
		*t.Gone = *why
		t.Gone.Instance = address
	}
	for _, rt := range t.Routes {
		r.RejectHopeless(rt, now)
	}
	r.Swept = false
}

// bury keeps a delivery that failed for good, until it is replayed.
func (r *Carrier) bury(d *Delivery, err *wire.Error, now clock.Instant) {
	r.Graves.Bury(observe.Dead{Event: d.Ev.ID, Type: d.Ev.Type, Subject: d.Ev.Subject, Route: d.Route.Name,
		Time: now.Wall, Err: reason.Brief(err), Attempts: d.History}, &d.Ev.Event)
}

// Alone makes a delivery of an event that nobody waits for, in no ledger of
// events and without a deadline. The caller offers it and releases the event.
func (r *Carrier) Alone(s *Source, ev *wire.Event, rt *Route, now clock.Instant) *Delivery {
	e := r.Events.New(s, 0, ev, nil, now)
	e.Deadline, e.Until = 0, 0
	e.Letter, e.Accepted = true, true
	e.Deliveries = e.One[:1]
	d := &e.Deliveries[0]
	d.Begin(e, rt)
	d.Await = false
	e.Open++
	r.Open++
	return d
}

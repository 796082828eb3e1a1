// Package route carries events along routes: it matches them, queues them,
// hands them to instances that have credit, retries, and settles the promise
// of each event exactly once. It knows nothing of processes: an instance
// attaches an Outlet and gets an Inbox, host/apply swaps the table, and both
// are told here what they may expect.
//
// The way of an event: Emit copies it and matches it against the table, then
// each matching route takes it as a delivery. A delivery waits in the queue of
// its route (held behind one of the same subject, ready, or backing off after
// a failed attempt), is handed to the target's Inbox against credit, and is in
// flight until it is settled, times out or its process dies. Then it is
// finished, or waits again. The promise is settled from its deliveries.
//
// Locks. One mutex, Router.mu, guards everything that changes: queues, counts,
// credit, numbers, alarms, promises. Each step of a delivery touches its event,
// its route, two instances and the ledger at once and takes about a fifth of a
// microsecond; with one lock nobody sees half of it, and no order of locks can
// be wrong. Outside the lock happen the copying of events, the
// matching and the expressions of routes; the table is immutable and swapped
// whole, and Emit starts again when it changed before the lock was taken.
// Outlets and Repliers are called with the lock held, so that an Accept precedes
// its Settle and a Deliver its Cancel: they only append to a buffer, must not
// block and must not call the router; they are flushed after it. What comes in
// one frame of a lane is a Batch, with one hold of the lock. The recorder's lock and those of the
// lanes come after mu. Nothing is logged under the lock.
//
// Memory. An event with its data and its delivery is used again once it is
// settled and all is finished. Nothing else may keep a pointer to it.
package route

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/emission"
	"github.com/pluginhost/host/host/route/internal/grave"
	"github.com/pluginhost/host/host/route/internal/line"
	"github.com/pluginhost/host/host/route/internal/match"
	"github.com/pluginhost/host/host/route/internal/queue"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/host/route/internal/token"
	"github.com/pluginhost/host/sdk/wire"
)

// Options configure a router.
type Options struct {
	Node     string
	Recorder *observe.Recorder // nil: nothing is recorded
	Log      hclog.Logger      // nil: nothing is logged
}

// Router carries events.
type Router struct {
	node  string
	log   hclog.Logger
	clock clock.Clock
	whys  clock.Allowance // of explanations why a when did not hold
	table atomic.Pointer[match.Table[link]]
	wake  chan struct{} // to Run: there is an earlier deadline

	mu      sync.Mutex // see the package comment
	closed  bool       // Run has ended: nothing is taken any more
	targets map[string]*target
	inboxes map[*Inbox]struct{} // attached and not closed
	live    []*route            // in the table, in config order
	swept   bool                // no retired route has become idle since
	seq     uint64              // of the last delivery taken
	alarms  line.Heap[delivery]
	next    int64 // when Run looks again; never if 0
	dirty   queue.Dirty[delivery, Inbox]
	later   []func()              // to be done without the lock
	open    int                   // deliveries not finished, parked ones included
	idle    chan struct{}         // closed, and replaced, when open becomes 0
	tokens  token.Table[delivery] // of detached ones
	dead    grave.Yard
	events  *emission.Register[delivery, cache]
	deliver wire.Deliver // what is being sent: one at a time
}

// New returns a router without routes.
func New(o Options) *Router {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	r := &Router{
		node: o.Node, log: o.Log, clock: clock.New(),
		events: emission.NewRegister[delivery, cache](o.Recorder),
		wake:   make(chan struct{}, 1), idle: make(chan struct{}),
		targets: map[string]*target{}, inboxes: map[*Inbox]struct{}{},
	}
	r.table.Store(match.NewTable[link](nil, nil))
	return r
}

// unlock hands out what can be handed out, then gives up the lock and does
// what had to wait for that. Whoever may have told an outlet or a replier
// something unlocks with it.
func (r *Router) unlock(now clock.Instant) {
	r.dispatch(now)
	later := r.later
	r.later = nil
	var few [8]Flusher
	r.events.Recorded()
	told := r.events.Told.Take(few[:0])
	if !r.swept {
		r.sweep()
	}
	r.mu.Unlock()
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
func (r *Router) Run(ctx context.Context) error {
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
func (r *Router) shut() {
	now := r.clock.Now()
	r.mu.Lock()
	r.closed = true
	err := reason.Shutdown()
	for i := range r.inboxes {
		for _, d := range i.inFlight() {
			if d.state == inFlight { // else it ended with one before
				r.fail(d, reason.Located(err, i.a.Address, i.a.Version), now)
			}
		}
	}
	for _, d := range r.tokens.All() {
		if d.state == detached {
			r.fail(d, err, now)
		}
	}
	for _, t := range r.targets {
		for _, rt := range t.Routes {
			r.reject(rt, err, now)
		}
	}
	r.unlock(now)
}

// reject ends all that waits in or for a route.
func (r *Router) reject(rt *route, err *wire.Error, now clock.Instant) {
	for !rt.Parked.Empty() {
		r.fail(rt.Parked.First(), err, now)
	}
	for d := rt.Waiting.Oldest(); d != nil; d = rt.Waiting.Oldest() {
		r.fail(d, err, now)
	}
}

// rejectHopeless does so when nothing can be handed out any more.
func (r *Router) rejectHopeless(rt *route, now clock.Instant) {
	if err := rt.Hopeless(); err != nil {
		r.reject(rt, err, now)
	}
}

// Idle returns when nothing is pending, or with ctx's error.
func (r *Router) Idle(ctx context.Context) error {
	r.mu.Lock()
	open, idle := r.open, r.idle
	r.mu.Unlock()
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

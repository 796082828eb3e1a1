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
// credit, numbers, timers, promises. Most steps of a delivery touch its event, its
// route, two instances and the ledger at once; a step under one lock is about a
// quarter of a microsecond, and neither deadlocks nor half-settled promises
// can be built from it. Outside the lock happen the copying of events, the
// matching and the expressions of routes; the table is immutable and swapped
// whole, and Emit starts again when it changed before the lock was taken.
// Outlets and Repliers are called with the lock held, so that an Accept precedes
// its Settle and a Deliver its Cancel: they only append to a buffer, must not
// block and must not call the router. The recorder's lock and those of the
// lanes come after mu. Nothing is logged under the lock.
//
// Memory. An event, its copied data and its delivery are one reused allocation;
// a settled event leaves nothing behind but its entries in the recorder.
package route

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/line"
	"github.com/pluginhost/host/host/route/internal/match"
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
	rec   *observe.Recorder
	log   hclog.Logger
	start time.Time // instants count from here
	table atomic.Pointer[match.Table[route]]
	free  sync.Pool     // of *event
	wake  chan struct{} // to Run: there is an earlier deadline

	mu      sync.Mutex // see the package comment
	closed  bool       // Run has ended: nothing is taken any more
	targets map[string]*target
	inboxes map[*Inbox]struct{} // attached and not closed
	live    []*route            // in the table, in config order
	swept   bool                // no retired route has become idle since
	seq     uint64              // of the last delivery taken
	alarms  line.Heap[delivery]
	next    int64          // when Run looks again; never if 0
	dirty   []*target      // may have something to hand out
	later   []func()       // to be done without the lock
	open    int            // deliveries not finished, parked ones included
	idle    chan struct{}  // closed, and replaced, when open becomes 0
	counts  observe.Counts // of events
	hosts   map[string]*Source
	deliver wire.Deliver // what is being sent: one at a time
	settle  wire.Settle
}

// New returns a router without routes.
func New(o Options) *Router {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	r := &Router{
		node: o.Node, rec: o.Recorder, log: o.Log, start: time.Now(),
		wake:    make(chan struct{}, 1),
		targets: map[string]*target{},
		inboxes: map[*Inbox]struct{}{},
		hosts:   map[string]*Source{},
		idle:    make(chan struct{}),
	}
	r.free.New = func() any { return new(event) }
	r.table.Store(match.NewTable[route](nil, nil))
	return r
}

// instant is one reading of the clock. Everything inside the router is
// measured by mono, which does not jump when the clock is set.
type instant struct {
	wall time.Time
	mono int64 // nanoseconds since the router's start, at least 1
}

func (r *Router) now() instant {
	t := time.Now()
	return instant{t, int64(t.Sub(r.start)) + 1}
}

// unlock hands out what can be handed out, then gives up the lock and does
// what had to wait for that.
func (r *Router) unlock(now instant) {
	r.dispatch(now)
	later := r.later
	r.later = nil
	if !r.swept {
		r.sweep()
	}
	r.mu.Unlock()
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

func shutdown() *wire.Error {
	return &wire.Error{Code: wire.Unavailable, Reason: wire.ReasonDraining, Retryable: true, Message: "host is shutting down"}
}

// shut rejects everything that is pending.
func (r *Router) shut() {
	now := r.now()
	r.mu.Lock()
	r.closed = true
	err := shutdown()
	for i := range r.inboxes {
		for _, d := range i.inFlight() {
			r.finish(d, rejected, nil, i.located(err), now)
		}
	}
	for _, t := range r.targets {
		for _, rt := range t.routes {
			r.reject(rt, rejected, err, now)
		}
	}
	r.unlock(now)
}

// reject finishes all that waits in or for a route.
func (r *Router) reject(rt *route, how ending, err *wire.Error, now instant) {
	for !rt.parked.Empty() {
		r.finish(rt.parked.First(), how, nil, err, now)
	}
	for rt.waiting.Oldest() != nil {
		r.finish(rt.waiting.Oldest(), how, nil, err, now)
	}
}

// rejectHopeless does so when nothing can be handed out any more.
func (r *Router) rejectHopeless(rt *route, now instant) {
	if err := rt.hopeless(); err != nil {
		r.reject(rt, failed, err, now)
	}
}

// Idle returns when nothing is pending, or with ctx's error.
func (r *Router) Idle(ctx context.Context) error {
	r.mu.Lock()
	if r.open == 0 {
		r.mu.Unlock()
		return nil
	}
	idle := r.idle
	r.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

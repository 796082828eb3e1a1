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
// Locks. One mutex, Carrier.Mu, guards everything that changes: queues, counts,
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
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/carrier"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/match"
	"github.com/pluginhost/host/sdk/wire"
)

// Source is an emitter of events.
type Source = carrier.Source

// Replier takes what the router tells an emitter.
type Replier = carrier.Replier

// Attachment says which instance attaches.
type Attachment = carrier.Attachment

// Outlet takes what the router sends to one instance.
type Outlet = carrier.Outlet

// Inbox is the router's side of an attached instance.
type Inbox = carrier.Inbox

// Flusher may keep back what it is told.
type Flusher = carrier.Flusher

type (
	event    = carrier.Event
	delivery = carrier.Delivery
	route    = carrier.Route
	link     = carrier.Link
)

// Options configure a router.
type Options struct {
	Node     string
	Recorder *observe.Recorder // nil: nothing is recorded
	Log      hclog.Logger      // nil: nothing is logged
}

// Router carries events.
type Router struct {
	c     *carrier.Carrier
	node  string
	whys  clock.Allowance // of explanations why a when did not hold
	table atomic.Pointer[match.Table[link]]
	live  []*route // in the table, in config order; guarded by c.Mu
}

// New returns a router without routes.
func New(o Options) *Router {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	r := &Router{c: carrier.New(o.Log, o.Recorder), node: o.Node}
	r.table.Store(match.NewTable[link](nil, nil))
	return r
}

// Run keeps deadlines, retries and timeouts until ctx ends; then it rejects
// what is pending with Unavailable, draining, and returns nil. Events emitted
// after that are rejected likewise.
func (r *Router) Run(ctx context.Context) error { return r.c.Run(ctx) }

// Idle returns when nothing is pending, or with ctx's error.
func (r *Router) Idle(ctx context.Context) error { return r.c.Idle(ctx) }

// Attach makes an instance the one that deliveries for its address go to from
// now on. Nothing is delivered before it gives credit. An earlier attachment of
// the same address gets nothing new, and settles what it has until its Inbox is
// closed.
func (r *Router) Attach(a Attachment) *Inbox { return r.c.Attach(a) }

// Forget says that the instance at address is gone for good: what waits for it
// is rejected as Unavailable for the reason why, and so is what comes later,
// until an instance attaches there again. What is in flight may still be settled.
func (r *Router) Forget(address string, why *wire.Error) { r.c.Forget(address, why) }

// Redeem settles a detached delivery for the holder of s.Token, the instance
// or person by. It copies what it keeps of s but Err. The error has reason
// unknown_token, stale_attempt or already_settled; it is counted.
func (r *Router) Redeem(by, version string, s *wire.Settle) *wire.Error {
	return r.c.Redeem(by, version, s)
}

// Withdraw says that the emitter does not wait for a promise any more: what
// the promise waits for ends, without a dead letter, and it is rejected. A
// promise that is settled stays so.
func (r *Router) Withdraw(s *Source, promise uint64) { r.c.Withdraw(s, promise) }

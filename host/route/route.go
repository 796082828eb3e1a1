// Package route carries events along routes: it matches them, queues them,
// hands them to instances that have credit, retries, and settles the promise
// of each event exactly once. It knows nothing of processes: an instance
// attaches an Outlet and gets an Inbox.
package route

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// Options configure a router.
type Options struct {
	Node     string
	Recorder *observe.Recorder
	Log      hclog.Logger
}

// Router carries events.
type Router struct{}

// New returns a router without routes.
func New(o Options) *Router { panic("unfinished") }

// Run keeps deadlines, retries and timeouts until ctx ends; then it rejects
// what is pending with Unavailable, draining.
func (r *Router) Run(ctx context.Context) error { panic("unfinished") }

// Swap makes routes the ones in force, at once for all events emitted from now
// on. Routes whose Text is unchanged keep their queue and counts; what waits
// in a removed or changed route is still delivered under the old policy.
func (r *Router) Swap(routes []config.Route) { panic("unfinished") }

// Outlet takes what the router sends to one instance. The calls must not block;
// an error means that the instance is gone and that its Inbox will be closed.
type Outlet interface {
	Deliver(d *wire.Deliver) error // Instance is filled in by the router with the handle given to Attach
	Cancel(delivery uint64, attempt uint32) error
}

// Attachment says which instance attaches.
type Attachment struct {
	Address    string
	Version    string   // of the plugin
	Generation uint64   // life of the instance
	Handle     uint32   // on its lane
	Actions    []string // names by index
	Outlet     Outlet
}

// Attach makes an instance the one that deliveries for its address go to from
// now on. Nothing is delivered before it gives credit. An earlier attachment of
// the same address gets nothing new, and settles what it has until its Inbox is
// closed.
func (r *Router) Attach(a Attachment) *Inbox { panic("unfinished") }

// Inbox is the router's side of an attached instance. Its methods may be
// called from any goroutine and do not block.
type Inbox struct{}

// Credit allows n more deliveries.
func (i *Inbox) Credit(n uint32) { panic("unfinished") }

// Settle takes the outcome of a delivery. It returns a *wire.Error with reason
// already_settled or stale_attempt when it is not wanted any more; that is
// counted and is no fault of the connection.
func (i *Inbox) Settle(s *wire.Settle) error { panic("unfinished") }

// InFlight returns the number of deliveries handed out and not settled, and
// the credit left.
func (i *Inbox) InFlight() (n, credit int) { panic("unfinished") }

// Stop takes the inbox out of use for new deliveries; what is in flight may
// still be settled.
func (i *Inbox) Stop() { panic("unfinished") }

// Close ends the inbox: what is in flight is given up with reason, which is
// retried by its route's policy when reason is retryable. Safe to call twice.
func (i *Inbox) Close(reason *wire.Error) { panic("unfinished") }

// Replier takes what the router tells the emitter of an event. The calls must
// not block; errors are ignored.
type Replier interface {
	Accept(promise uint64) error
	Settle(s *wire.Settle) error
}

// Source is an emitter of events. Identity is the source's, never the message's.
type Source struct {
	Address string   // instance address, or "host"
	Events  []string // event names by index
	Replier Replier  // nil: nobody waits
}

// Emit takes an event: it sets type, source and missing fields, matches it and
// queues it. e and its bytes are copied. It never blocks: while a route with
// overflow = block is full the event waits unaccepted, bounded by
// wire.EmitWindow per source by contract. The outcome goes to the Replier.
func (r *Router) Emit(s *Source, e *wire.Emit) { panic("unfinished") }

// EmitHost emits an event of the host itself, for example ready, and forgets it.
func (r *Router) EmitHost(name string, data any) { panic("unfinished") }

// Counts returns the ledger of events, and the state of each route.
func (r *Router) Counts() (observe.Counts, []observe.Route) { panic("unfinished") }

// Idle returns when nothing is pending, or with ctx's error.
func (r *Router) Idle(ctx context.Context) error { panic("unfinished") }

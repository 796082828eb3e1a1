package carrier

import (
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/emission"
	"github.com/pluginhost/host/host/route/internal/match"
	"github.com/pluginhost/host/sdk/wire"
)

// Link is a route as the table has it. Link and Cache are types of their own:
// Go 1.26 does not take aliases of generic types whose arguments lead back to
// them.
type Link struct{ *Route }

// Cache is what is remembered of a source.
type Cache struct{ match.Cache[Link] }

// Event is an event on its way, with its promise.
type Event = emission.Event[Delivery, Cache]

// Source is an emitter of events. Identity is the source's, never the message's.
// It belongs to one router and is not changed after its first Emit.
type Source = emission.Source[Delivery, Cache]

// Replier takes what the router tells the emitter of an event. The calls must
// not block and must not call the router; errors are ignored. What s points to
// is valid during the call, but for Err, which may be kept and not be changed.
type Replier = emission.Replier

// Flusher may keep back what it is told until Flush. That comes soon after,
// without the router's lock and from any goroutine; also more often than needed.
type Flusher = emission.Flusher

// touch has an outlet or a replier flushed when the lock is given up.
func (r *Carrier) touch(f Flusher) { r.Events.Told.Add(f) }

// Record stores a step in the life of an event, and of a delivery if there is one.
func (r *Carrier) Record(step observe.Step, ev *Event, d *Delivery, err *wire.Error, now clock.Instant) {
	var at emission.At
	if d != nil {
		at = emission.At{Route: d.Route.Name, Instance: d.Route.Target.Address, Attempt: d.Attempt}
	}
	r.Events.Record(step, ev, at, err, now)
}

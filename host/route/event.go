package route

import (
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/emission"
	"github.com/pluginhost/host/host/route/internal/match"
	"github.com/pluginhost/host/sdk/wire"
)

// event is an event on its way, with its promise.
type event = emission.Event[delivery, match.Cache[route]]

// Source is an emitter of events. Identity is the source's, never the message's.
// It belongs to one router and is not changed after its first Emit.
type Source = emission.Source[delivery, match.Cache[route]]

// Replier takes what the router tells the emitter of an event. The calls must
// not block and must not call the router; errors are ignored. What s points to
// is valid during the call, but for Err, which may be kept and not be changed.
type Replier = emission.Replier

// Flusher may keep back what it is told until Flush. That comes soon after,
// without the router's lock and from any goroutine; also more often than needed.
type Flusher = emission.Flusher

// touch has an outlet or a replier flushed when the lock is given up.
func (r *Router) touch(f Flusher) { r.events.Told.Add(f) }

// record stores a step in the life of an event, and of a delivery if there is one.
func (r *Router) record(step observe.Step, ev *event, d *delivery, err *wire.Error, now clock.Instant) {
	var at emission.At
	if d != nil {
		at = emission.At{Route: d.route.name, Instance: d.route.target.address, Attempt: d.attempt}
	}
	r.events.Record(step, ev, at, err, now)
}

// answered notes that a delivery was finished.
func (r *Router) answered(d *delivery, value []byte, err *wire.Error, now clock.Instant) {
	if d.await {
		r.events.Answered(d.ev, d.first, value, err, now)
	}
}

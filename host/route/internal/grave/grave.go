// Package grave keeps deliveries that failed for good, with their events, so
// that they can be looked at and replayed. It is bounded: the oldest are
// forgotten.
package grave

import (
	"bytes"
	"slices"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// Bounds of what is kept.
const (
	maxDead  = 1024
	maxBytes = 64 << 20 // of events, and of what is told of them
)

// Body is a dead delivery and its event.
type Body struct {
	observe.Dead
	Event wire.Event
	bytes int
}

// Yard holds dead deliveries, oldest first. The zero Yard is empty.
type Yard struct {
	bodies    []*Body
	bytes     int
	Forgotten uint64 // to make room
}

// Bury keeps a delivery. The event is copied.
func (y *Yard) Bury(d observe.Dead, ev *wire.Event) {
	e := *ev
	e.Data = bytes.Clone(ev.Data)
	b := &Body{d, e, weight(&d, &e)}
	y.bodies = append(y.bodies, b)
	y.bytes += b.bytes
	for len(y.bodies) > maxDead || y.bytes > maxBytes {
		y.bytes -= y.bodies[0].bytes
		y.bodies = slices.Delete(y.bodies, 0, 1)
		y.Forgotten++
	}
}

// weight is about how many bytes a dead delivery keeps.
func weight(d *observe.Dead, e *wire.Event) int {
	of := func(err *wire.Error) int {
		if err == nil {
			return 0
		}
		return len(err.Message) + len(err.Details)
	}
	n := len(e.Data) + len(e.Subject) + len(e.Traceparent) + len(e.Tracestate) + len(e.ContentType) + of(d.Err)
	for _, a := range d.Attempts {
		n += of(a.Err)
	}
	return n
}

// All returns what is kept, oldest first. It must not be changed.
func (y *Yard) All() []*Body { return slices.Clone(y.bodies) }

// Take takes one out, and reports false when it is gone.
func (y *Yard) Take(b *Body) bool {
	n := slices.Index(y.bodies, b)
	if n < 0 {
		return false
	}
	y.bytes -= b.bytes
	y.bodies = slices.Delete(y.bodies, n, n+1)
	return true
}

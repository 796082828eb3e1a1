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
	maxBytes = 64 << 20 // of data
)

// Body is a dead delivery and its event.
type Body struct {
	observe.Dead
	Event wire.Event
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
	y.bodies = append(y.bodies, &Body{d, e})
	y.bytes += len(e.Data)
	for len(y.bodies) > maxDead || y.bytes > maxBytes {
		y.bytes -= len(y.bodies[0].Event.Data)
		y.bodies = slices.Delete(y.bodies, 0, 1)
		y.Forgotten++
	}
}

// All returns what is kept, oldest first. It must not be changed.
func (y *Yard) All() []*Body { return slices.Clone(y.bodies) }

// Take takes one out, and reports false when it is gone.
func (y *Yard) Take(b *Body) bool {
	n := slices.Index(y.bodies, b)
	if n < 0 {
		return false
	}
	y.bytes -= len(b.Event.Data)
	y.bodies = slices.Delete(y.bodies, n, n+1)
	return true
}

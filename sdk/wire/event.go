package wire

import (
	"time"

	"github.com/pluginhost/host/sdk/wire/id"
)

// ID is the id of an event: a UUIDv7. The zero ID means none.
type ID = id.ID

// NewID makes an id from the current time and randomness.
func NewID() ID { return id.New() }

// NewIDAt makes an id from a time and randomness.
func NewIDAt(t time.Time) ID { return id.NewAt(t) }

// ParseID reads the canonical form.
func ParseID(s string) (ID, error) { return id.Parse(s) }

// Event is an immutable fact. It maps one to one to a CloudEvent.
type Event struct {
	ID          ID
	Type        string // http.orders.request
	Source      string // node/instance
	Subject     string
	Time        int64 // Unix, nanoseconds
	Correlation ID    // first event of the story; the event's own id at its start
	Causation   ID    // the event that led to this one, zero at the start
	Deadline    int64 // Unix, nanoseconds; 0 for none
	Traceparent string
	Tracestate  string
	ContentType string // empty for application/json
	Data        []byte
}

// DeadlineTime returns the deadline and whether there is one.
func (e *Event) DeadlineTime() (time.Time, bool) {
	return time.Unix(0, e.Deadline), e.Deadline != 0
}

// Emit offers an event to host, which answers with Accept, Settle or both.
type Emit struct {
	Promise  uint64 // the plugin's number, unique on the lane, not 0
	Instance uint32 // handle
	Type     uint32 // index of the event in the manifest
	Event    Event
}

// Deliver hands an event to an action.
type Deliver struct {
	Delivery uint64 // host's number of the delivery on this lane
	Attempt  uint32 // from 1
	Instance uint32 // handle
	Action   uint32 // index of the action in the manifest
	Deadline int64  // Unix, nanoseconds, of this attempt; 0 for none
	Event    Event
	Input    []byte // where HasInput; else the action's input is Event.Data
	HasInput bool
}

// Settle ends a promise (from host: Ref is the promise) or a delivery (from a
// plugin: Ref is the delivery, with its attempt). Err is nil when resolved.
//
// A plugin that settles a detached delivery gives its Token; Ref is then a
// promise of the plugin's, with which host says whether it was taken. A settle
// that comes from host with an Attempt is one of the plugin's, sent back
// because it was not taken: Err says why.
type Settle struct {
	Ref      uint64
	Attempt  uint32
	Value    []byte // JSON; may be nil
	Err      *Error
	Token    string // of a detached delivery
	Instance uint32 // handle of who settles by token
}

// Cause says why an attempt is cancelled.
type Cause uint32

// Causes.
const (
	TimedOut  Cause = 1 // it was not settled in time
	Withdrawn Cause = 2 // the emitter does not want the outcome any more
	Rejected  Cause = 3 // another route rejected the promise
)

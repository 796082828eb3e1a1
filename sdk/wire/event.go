package wire

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
)

// ID is the id of an event: a UUIDv7. The zero ID means none.
type ID uuid.UUID

// NewID makes an id from the current time and randomness.
func NewID() ID { return NewIDAt(time.Now()) }

// NewIDAt makes an id from a time, to a quarter of a microsecond, and 62 random
// bits (RFC 9562, section 6.2, method 3). The random bits come from the
// runtime's ChaCha8: they make ids unique, they are no secret.
func NewIDAt(t time.Time) ID {
	var id ID
	ms := uint64(t.UnixMilli())
	fraction := uint64(t.Nanosecond()) % 1e6 * 4096 / 1e6
	binary.BigEndian.PutUint64(id[:8], ms<<16|7<<12|fraction)
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()>>2|2<<62)
	return id
}

// ParseID reads the canonical form.
func ParseID(s string) (ID, error) {
	u, err := uuid.Parse(s)
	return ID(u), err
}

// IsZero reports whether there is no id.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the canonical form, or "" for none.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	var b [36]byte
	hex.Encode(b[:8], id[:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:], id[10:])
	return string(b[:])
}

// MarshalText writes the canonical form, so that JSON shows ids as strings.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the canonical form or nothing.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	return (*uuid.UUID)(id).UnmarshalText(b)
}

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
type Settle struct {
	Ref     uint64
	Attempt uint32
	Value   []byte // JSON; may be nil
	Err     *Error
}

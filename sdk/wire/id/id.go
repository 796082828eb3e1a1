// Package id makes and writes the ids of events.
package id

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
)

// ID is the id of an event: a UUIDv7. The zero ID means none.
type ID uuid.UUID

// New makes an id from the current time and randomness.
func New() ID { return NewAt(time.Now()) }

// NewAt makes an id from a time, to a quarter of a microsecond, and 62 random
// bits (RFC 9562, section 6.2, method 3). The random bits come from the
// runtime's ChaCha8: they make ids unique, they are no secret.
func NewAt(t time.Time) ID {
	var id ID
	ms := uint64(t.UnixMilli())
	fraction := uint64(t.Nanosecond()) % 1e6 * 4096 / 1e6
	binary.BigEndian.PutUint64(id[:8], ms<<16|7<<12|fraction)
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()>>2|2<<62)
	return id
}

// Parse reads the canonical form.
func Parse(s string) (ID, error) {
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

package work

import (
	"bytes"
	"time"

	"github.com/pluginhost/host/sdk/wire"
)

// Slab makes calls of what a lane lends. A handler may keep its input and its
// context, so that neither is used again; but small ones share their memory with
// a few that came before and after, which costs less and gives the collector
// less to look at, and large ones stay where they were read. Whoever keeps one
// keeps at most that much more. The input of a handler that does not keep it is
// lent until that has returned. One goroutine uses a Slab at a time.
type Slab struct {
	Keep   func([]byte) []byte // wire.Lane's; nil where there is none: then it copies
	Borrow func() *wire.Chunk  // likewise
	calls  []Call
	bytes  []byte
}

const (
	slabCalls = 8
	slabBytes = 4 << 10
	slabShare = slabBytes / 4 // bytes of the largest data that shares
)

// Call makes a call of a delivery, which it copies. With lend the call has its
// input until Free, and its event has no data.
func (s *Slab) Call(action string, h Handler, lend bool, d *wire.Deliver) *Call {
	if len(s.calls) == 0 {
		s.calls = make([]Call, slabCalls)
	}
	c := &s.calls[0]
	s.calls = s.calls[1:]
	c.action, c.handle, c.event, c.Delivery, c.Attempt = action, h, d.Event, d.Delivery, d.Attempt
	switch {
	case lend:
		c.event.Data = nil
		c.input = d.Event.Data
		if d.HasInput {
			c.input = d.Input
		}
		s.lend(c)
	case d.HasInput:
		c.event.Data, c.input = s.clone(d.Event.Data), s.clone(d.Input)
	default:
		c.event.Data = s.clone(d.Event.Data)
		c.input = c.event.Data
	}
	deadline := d.Deadline
	if e := d.Event.Deadline; e != 0 && (deadline == 0 || e < deadline) {
		deadline = e
	}
	if deadline != 0 {
		c.deadline = time.Unix(0, deadline)
	}
	return c
}

// lend leaves the input of a call where it was read, or copies it.
func (s *Slab) lend(c *Call) {
	if len(c.input) == 0 {
		return
	}
	if s.Borrow != nil {
		c.chunk = s.Borrow()
	}
	if c.chunk == nil {
		c.input = s.clone(c.input)
	}
}

// clone returns data that stays. To append to it does not touch its neighbours.
func (s *Slab) clone(b []byte) []byte {
	n := len(b)
	switch {
	case n > slabShare && s.Keep != nil:
		return s.Keep(b)
	case n == 0 || n > slabShare:
		return bytes.Clone(b)
	}
	if len(s.bytes) < n {
		s.bytes = make([]byte, slabBytes)
	}
	c := s.bytes[:n:n]
	s.bytes = s.bytes[n:]
	copy(c, b)
	return c
}

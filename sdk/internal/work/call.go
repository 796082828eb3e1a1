package work

import (
	"context"
	"sync"
	"time"

	"github.com/pluginhost/host/sdk/internal/failure"
	"github.com/pluginhost/host/sdk/wire"
)

type eventKey struct{}

// Event returns the event that a handler is handling.
func Event(ctx context.Context) (*wire.Event, bool) {
	e, ok := ctx.Value(eventKey{}).(*wire.Event)
	return e, ok
}

// Call is a delivery being handled, and the context of its handler. Most
// handlers never ask for Done, so the timer and the channel behind it are made
// when one does.
type Call struct {
	action   string
	handle   Handler
	event    wire.Event
	input    []byte
	Delivery uint64
	Attempt  uint32
	deadline time.Time // of the attempt; zero for none

	prev, next *Call // of the instance's calls in flight; the pool's lock

	mu     sync.Mutex
	inner  context.Context // nil until it is asked for
	cancel context.CancelFunc
	ended  bool // canceled by host, or handled
}

// Handler handles the input of an action and returns its value.
type Handler func(ctx context.Context, input []byte) ([]byte, error)

// NewCall makes a call of what the lane lends, which it copies.
func NewCall(action string, h Handler, d *wire.Deliver) *Call {
	c := &Call{action: action, handle: h, event: d.Event, Delivery: d.Delivery, Attempt: d.Attempt}
	bytes := make([]byte, len(d.Event.Data)+len(d.Input))
	n := copy(bytes, d.Event.Data)
	copy(bytes[n:], d.Input)
	c.event.Data, c.input = bytes[:n:n], bytes[:n:n]
	if d.HasInput {
		c.input = bytes[n:]
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

// Deadline implements context.Context.
func (c *Call) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Done implements context.Context.
func (c *Call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		if c.deadline.IsZero() {
			c.inner, c.cancel = context.WithCancel(context.Background())
		} else {
			c.inner, c.cancel = context.WithDeadline(context.Background(), c.deadline)
		}
		if c.ended {
			c.cancel()
		}
	}
	return c.inner.Done()
}

// Err implements context.Context.
func (c *Call) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.inner != nil:
		return c.inner.Err()
	case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
		return context.DeadlineExceeded
	case c.ended:
		return context.Canceled
	}
	return nil
}

// Value implements context.Context. Package context finds its own context
// inside by a key of its own, so that children need no goroutine.
func (c *Call) Value(key any) any {
	if _, ok := key.(eventKey); ok {
		return &c.event
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		return c.inner.Value(key)
	}
	return nil
}

// end ends the context.
func (c *Call) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}

// Run calls the handler. A panic in it is an error.
func (c *Call) Run() (value []byte, err *wire.Error) {
	defer c.end()
	defer func() {
		if v := recover(); v != nil {
			value, err = nil, failure.Panicked("the handler of "+c.action, v)
		}
	}()
	value, failed := c.handle(c, c.input)
	switch {
	case failed != nil:
		return nil, failure.Of(failed)
	case len(value) > wire.MaxEvent:
		return nil, &wire.Error{Code: wire.ResourceExhausted, Message: "the value of action " + c.action + " is larger than 4 MiB"}
	}
	return value, nil
}

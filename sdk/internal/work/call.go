package work

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pluginhost/host/sdk/internal/failure"
	"github.com/pluginhost/host/sdk/wire"
)

type (
	eventKey struct{}
	callKey  struct{}
)

// Of returns the call that a handler is running.
func Of(ctx context.Context) (*Call, bool) {
	c, ok := ctx.Value(callKey{}).(*Call)
	return c, ok
}

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
	chunk    *wire.Chunk // has input, until Free; nil where nothing is lent
	Delivery uint64
	Attempt  uint32
	Owner    any       // whoever made the call
	deadline time.Time // of the attempt; zero for none

	prev, next *Call // of the instance's calls in flight; the pool's lock
	crew       *Crew // whose leader runs it, or nil
	leader     uint64
	held       bool // stays after its handler has returned; the pool's lock
	removed    bool // from the calls in flight; the pool's lock

	mu     sync.Mutex
	inner  context.Context // nil until it is asked for
	cancel context.CancelCauseFunc
	stop   context.CancelFunc // of the deadline's timer
	ended  bool               // canceled by host, or handled
	cause  error              // why it ended, nil when it was handled
	token  string             // it was detached
	after  func()             // called once when the call is canceled after it was held
}

// Linked is the error of a handler whose delivery settles as something else
// does. Then calls back once, from any goroutine; Drop says that nobody waits.
type Linked struct {
	Then func(func(value []byte, err *wire.Error))
	Drop func()
}

func (*Linked) Error() string { return "the delivery follows a promise" }

// Handler handles the input of an action and returns its value.
type Handler func(ctx context.Context, input []byte) ([]byte, error)

// Deadline implements context.Context.
func (c *Call) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Done implements context.Context.
func (c *Call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open()
	return c.inner.Done()
}

// open makes the inner context; the lock is held.
func (c *Call) open() {
	if c.inner != nil {
		return
	}
	c.inner, c.cancel = context.WithCancelCause(context.Background())
	if !c.deadline.IsZero() {
		c.inner, c.stop = context.WithDeadline(c.inner, c.deadline)
	}
	if c.ended {
		c.shut()
	}
}

// shut ends the inner context; the lock is held.
func (c *Call) shut() {
	c.cancel(c.cause)
	if c.stop != nil {
		c.stop()
	}
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
	switch key.(type) {
	case eventKey:
		return &c.event
	case callKey:
		return c
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		return c.inner.Value(key)
	}
	return nil
}

// end ends the context. A nil cause is for a call that was handled.
func (c *Call) end(cause error) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.ended, c.cause = true, cause
	if cause != nil {
		c.open() // so that context.Cause finds it
	}
	if c.cancel != nil {
		c.shut()
	}
	after := c.after
	c.after = nil
	c.mu.Unlock()
	if after != nil && cause != nil {
		after()
	}
}

// Yield says that the handler is about to wait for something that must be read.
func (c *Call) Yield() {
	if c.crew != nil {
		c.crew.pass(c.leader)
	}
}

// Detach notes that the delivery belongs to whoever holds a token. It reports
// false when it does already.
func (c *Call) Detach(token string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" {
		return false
	}
	c.token = token
	return true
}

// Token returns the token of a call that was detached, or "".
func (c *Call) Token() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// Free gives back what was lent to the call, whose handler has returned and
// whose value was sent.
func (c *Call) Free() {
	if c.chunk != nil {
		c.input = nil
		c.chunk.Release()
		c.chunk = nil
	}
}

// Run calls the handler. A panic in it is an error. A delivery that follows a
// promise is open still: its context ends when the pool releases the call.
func (c *Call) Run() (value []byte, err *wire.Error, link *Linked) { //nolint:revive,staticcheck // the error is the outcome's
	defer func() {
		if v := recover(); v != nil {
			value, err, link = nil, failure.Panicked("the handler of "+c.action, v), nil
		}
		if link == nil {
			c.end(nil)
		}
	}()
	value, failed := c.handle(c, c.input)
	switch {
	case failed != nil:
		if follows := new(*Linked); errors.As(failed, follows) {
			return nil, nil, *follows
		}
		return nil, failure.Of(failed), nil
	case len(value) > wire.MaxEvent:
		return nil, &wire.Error{Code: wire.ResourceExhausted, Message: "the value of action " + c.action + " is larger than 4 MiB"}, nil
	}
	return value, nil, nil
}

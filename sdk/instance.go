package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pluginhost/host/sdk/internal/failure"
	"github.com/pluginhost/host/sdk/internal/typed"
	"github.com/pluginhost/host/sdk/internal/work"
	"github.com/pluginhost/host/sdk/wire"
)

// instance is one configured instance in this process: New has made it, Commit
// opens it, Drain or Abort ends it.
type instance struct {
	process *process
	handle  uint32
	actions []*Handler // by index in the manifest; nil where nobody handles
	author  *Instance
	opened  *typed.Values
	credit  int
	owed    atomic.Uint32 // of the credit, for calls that are done
	pool    *work.Pool

	open   atomic.Bool // between Commit and the end of Drain
	stopDo sync.Once
	cancel context.CancelFunc // of Run
	ran    chan struct{}      // closed when Run has returned; nil before Commit
}

// bind connects what New returned with the manifest.
func (i *instance) bind(author *Instance, actions []string) error {
	i.author = author
	if i.credit = author.Credit; i.credit <= 0 {
		i.credit = defaultCredit
	}
	i.pool = work.NewPool(i.credit, i.handleCall, i.rest)
	i.actions = make([]*Handler, len(actions))
	for n := range author.Handlers {
		h := &author.Handlers[n]
		at := slices.Index(actions, h.action)
		if at < 0 {
			return fmt.Errorf("action %s is handled and not declared: add it to Plugin.Actions", h.action)
		}
		if i.actions[at] != nil {
			return fmt.Errorf("action %s has two handlers", h.action)
		}
		i.actions[at] = h
	}
	return nil
}

// commit opens the gate.
func (i *instance) commit() {
	ctx, cancel := context.WithCancel(context.Background())
	i.cancel, i.ran = cancel, make(chan struct{})
	i.open.Store(true)
	_ = i.process.lane.Credit(i.handle, uint32(i.credit)) // a lane that is gone ends the process
	go func() {
		defer close(i.ran)
		if i.author.Run == nil {
			return
		}
		if err := i.callRun(ctx); err != nil && ctx.Err() == nil {
			i.process.exit(fmt.Errorf("%s: run: %w", i.process.addressOf(i), err))
		}
	}()
}

func (i *instance) callRun(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = failure.Panicked("Run", v)
		}
	}()
	return i.author.Run(ctx)
}

func (i *instance) callOnDrain(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = failure.Panicked("OnDrain", v)
		}
	}()
	if i.author.OnDrain != nil {
		i.author.OnDrain(ctx)
	}
	return nil
}

func (i *instance) callClose() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = failure.Panicked("Close", v)
		}
	}()
	if i.author == nil || i.author.Close == nil {
		return nil
	}
	return i.author.Close()
}

// drain finishes what is in flight and ends the instance. It returns how many
// deliveries were given up.
func (i *instance) drain(ctx context.Context) (unfinished int) {
	if err := i.callOnDrain(ctx); err != nil {
		i.process.log.Error("the drain goes on", "instance", i.process.addressOf(i), "error", err)
	}
	select {
	case <-i.pool.Idle():
	case <-ctx.Done():
	}
	return i.end(ctx)
}

// end stops everything; safe to call twice.
func (i *instance) end(ctx context.Context) (unfinished int) {
	i.stopDo.Do(func() {
		unfinished = i.pool.Close()
		if i.cancel != nil {
			i.cancel()
			select {
			case <-i.ran:
			case <-ctx.Done():
			case <-time.After(endGrace):
			}
		}
		i.open.Store(false)
		if err := i.callClose(); err != nil {
			i.process.log.Warn("close failed", "instance", i.process.addressOf(i), "error", err)
		}
		i.opened.Close()
	})
	return unfinished
}

// endGrace is how long Run may take to return after its ctx has ended.
const endGrace = 2 * time.Second

// deliver hands a delivery to the pool.
func (i *instance) deliver(d *wire.Deliver) {
	reject := func(code Code, reason, message string) {
		_ = i.process.lane.Settle(&wire.Settle{Ref: d.Delivery, Attempt: d.Attempt,
			Err: &Error{Code: code, Reason: reason, Message: message, Retryable: code == Unavailable}})
		_ = i.process.lane.Credit(i.handle, 1)
	}
	if int(d.Action) >= len(i.actions) || i.actions[d.Action] == nil {
		reject(Unimplemented, "", "the instance does not handle this action")
		return
	}
	h := i.actions[d.Action]
	c := i.process.slab.Call(h.action, h.handle, h.lent, d)
	c.Owner = i
	if !i.pool.Put(c) {
		c.Free()
		reject(Unavailable, wire.ReasonDraining, "the instance takes nothing new")
	}
}

// handleCall runs a handler and settles its delivery, unless that was detached
// or follows a promise.
func (i *instance) handleCall(c *work.Call) {
	value, err, link := c.Run()
	switch token := c.Token(); {
	case token != "" && link != nil:
		i.followDetached(c, Token(token), link)
	case token != "":
		i.detached(Token(token), err)
	case link != nil:
		i.follow(c, link)
	default:
		i.settle(c, value, err)
	}
	c.Free()
}

// rest is called after calls. When nothing waits for a worker, what is
// settled goes out from here, and so does the credit for it; else the writer
// sends it while the next handler runs, and credit is given in larger parts.
func (i *instance) rest(calls int, last bool) {
	if n := i.owed.Add(uint32(calls)); last || 4*int(n) >= i.credit {
		if n = i.owed.Swap(0); n > 0 {
			_ = i.process.lane.PutCredit(i.handle, n)
		}
	}
	if last {
		i.process.lane.Flush()
	} else {
		i.process.lane.Wake()
	}
}

// settle puts the outcome of a call on the lane; who calls it wakes the writer.
func (i *instance) settle(c *work.Call, value []byte, err *Error) {
	if serr := i.process.lane.PutSettle(&wire.Settle{Ref: c.Delivery, Attempt: c.Attempt, Value: value, Err: err}); errors.Is(serr, wire.ErrTooLarge) {
		_ = i.process.lane.PutSettle(&wire.Settle{Ref: c.Delivery, Attempt: c.Attempt,
			Err: &Error{Code: ResourceExhausted, Message: "the outcome is too large"}})
	}
}

// follow settles a delivery as a promise does. The handler's place and its
// credit are free meanwhile; the drain waits for it.
func (i *instance) follow(c *work.Call, link *work.Linked) {
	if !i.pool.Hold(c, link.Drop) {
		link.Drop()
		i.settle(c, nil, failure.Of(context.Cause(c)))
		return
	}
	link.Then(func(value []byte, err *wire.Error) {
		i.settle(c, value, err)
		i.process.lane.Wake()
		i.pool.Release(c)
	})
}

// emits are used again: an option may take hold of an event, which therefore
// would be made on the heap.
var emits = sync.Pool{New: func() any { return new(wire.Emit) }}

// emit sends an event and returns its promise.
func (i *instance) emit(ctx context.Context, name string, data []byte, opts []EmitOption) *Promise {
	m := emits.Get().(*wire.Emit)
	defer func() {
		*m = wire.Emit{}
		emits.Put(m)
	}()
	e := &m.Event
	if i == nil {
		born(ctx, e, time.Now(), data)
	} else {
		born(ctx, e, i.process.clock.now(), data)
	}
	for _, o := range opts {
		o(e)
	}
	if cause, ok := FromContext(ctx); ok && cause.Deadline != 0 && (e.Deadline == 0 || e.Deadline > cause.Deadline) {
		e.Deadline = cause.Deadline // nobody waits for the cause any longer
	}
	if i == nil || !i.open.Load() {
		return rejected(e.ID, Errorf(FailedPrecondition, "event %s: the instance is not committed, or was drained", name))
	}
	index, ok := i.process.index[name]
	if !ok {
		return rejected(e.ID, Errorf(FailedPrecondition, "event %s is not declared: add it to Plugin.Events", name))
	}
	if len(e.Data) > wire.MaxEvent {
		return rejected(e.ID, Errorf(InvalidArgument, "event %s has %d bytes of data; at most %d are possible", name, len(e.Data), wire.MaxEvent))
	}
	p := &Promise{id: e.ID, instance: i}
	alone, refused := i.process.promises.Add(ctx, &p.outcome)
	if refused != nil {
		return rejected(e.ID, refused)
	}
	m.Promise, m.Instance, m.Type = p.outcome.Number(), i.handle, index
	if err := i.process.lane.PutEmit(m); err != nil {
		i.process.promises.Settle(m.Promise, nil, Errorf(Unavailable, "event %s: %v", name, err))
		return p
	}
	i.process.gathered(alone)
	return p
}

// born fills in a new event.
func born(ctx context.Context, e *wire.Event, now time.Time, data []byte) {
	e.ID, e.Time, e.Data = wire.NewIDAt(now), now.UnixNano(), data
	e.Correlation = e.ID
	if cause, ok := FromContext(ctx); ok {
		e.Causation = cause.ID
		if e.Correlation = cause.Correlation; e.Correlation.IsZero() {
			e.Correlation = cause.ID
		}
		e.Traceparent, e.Tracestate = cause.Traceparent, cause.Tracestate
	}
	if d, ok := ctx.Deadline(); ok {
		e.Deadline = d.UnixNano()
	}
}

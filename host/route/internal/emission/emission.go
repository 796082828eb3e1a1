// Package emission holds events on their way with their promises: an event is
// accepted, its promise is settled once, and the emitter is told. What becomes
// of its deliveries is the router's; D is a delivery as the router keeps it,
// and C what the router remembers of a source. Everything but New is called
// under the router's lock.
package emission

import (
	"bytes"
	"errors"
	"sync"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/book"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

const (
	kept     = 8 << 10 // bytes of the largest data buffer that waits with its event to be used again
	borrowed = 1 << 10 // bytes from which on data stays where it was read: less is not worth the chunk that it holds
)

// Event is an event on its way, with its promise. Before the router takes its
// lock it belongs to the goroutine that emits, then the lock guards it.
type Event[D, C any] struct {
	wire.Event
	Src        *Source[D, C]
	Promise    uint64 // the emitter's number of the promise
	Born       int64  // mono
	Until      int64  // its deadline: mono, 0 for none
	Open       int    // deliveries not finished, and one while Emit works on it
	Awaiting   int    // deliveries that the promise waits for
	Parked     int    // deliveries for which a queue has no room: not accepted while there are any
	Waited     bool   // it was parked, and counts in its source's window until accepted
	Accepted   bool
	Settled    bool
	Ending     bool // its awaited deliveries are being ended
	Letter     bool // carries a dead letter or a replay: nobody waits and the ledger of events does not know it
	Value      []byte
	Deliveries []D // one per matching route, in config order
	One        [1]D
	Passed     []Passed // routes that did not want it
	Oversize   int      // bytes of data that are too many, and were not copied
	buf        []byte   // holds Data, unless chunk does
	chunk      *wire.Chunk
	next       *Event[D, C]
	at         **Event[D, C] // what leads to it in the chain
	indexed    bool          // in its source's index
}

// Passed is a route that did not want an event; Err says why that could not be
// told.
type Passed struct {
	At
	Err *wire.Error
}

// Register makes events and keeps their ledger.
type Register[D, C any] struct {
	Book      book.Book
	Told      Told
	rec       *observe.Recorder
	recording bool      // between its Begin and End
	free      sync.Pool // of *Event
	settle    wire.Settle
}

// NewRegister returns a register. A nil recorder records nothing.
func NewRegister[D, C any](rec *observe.Recorder) *Register[D, C] {
	r := &Register[D, C]{rec: rec}
	r.free.New = func() any { return new(Event[D, C]) }
	return r
}

// Lender has the memory in which the data of an event was read: a lane that is
// in the call which brought it.
type Lender interface {
	Borrow() *wire.Chunk // nil: it must be copied
}

// New takes an event: its data is copied, or stays where from has it until the
// event is freed. Type and source are for the caller to set. A nil from lends
// nothing.
func (r *Register[D, C]) New(s *Source[D, C], promise uint64, e *wire.Event, from Lender, now clock.Instant) *Event[D, C] {
	ev := r.free.Get().(*Event[D, C])
	ev.Event = *e
	switch n := len(e.Data); {
	case n > wire.MaxEvent:
		ev.Oversize, ev.Data = n, nil
	case n < borrowed || from == nil || !ev.borrow(from):
		ev.buf = append(ev.buf[:0], e.Data...)
		ev.Data = ev.buf
	}
	ev.Src, ev.Promise, ev.Born, ev.Open = s, promise, now.Mono, 1
	if ev.ID.IsZero() {
		ev.ID = wire.NewID()
	}
	if ev.Correlation.IsZero() {
		ev.Correlation = ev.ID
	}
	if ev.Time == 0 {
		ev.Time = now.Wall.UnixNano()
	}
	if ev.Deadline != 0 {
		ev.Until = now.OnClock(ev.Deadline)
	}
	return ev
}

func (ev *Event[D, C]) borrow(from Lender) bool {
	ev.chunk = from.Borrow()
	return ev.chunk != nil
}

// Release lets go of an event once; the last one frees it.
func (r *Register[D, C]) Release(ev *Event[D, C]) {
	ev.Open--
	if ev.Open > 0 {
		return
	}
	if ev.chunk != nil {
		ev.chunk.Release()
	}
	buf := ev.buf
	if cap(buf) > kept {
		buf = nil
	}
	*ev = Event[D, C]{buf: buf}
	r.free.Put(ev)
}

// Accept says that every matching route has taken the event. With nothing to
// wait for that settles the promise. A second call does nothing.
func (r *Register[D, C]) Accept(ev *Event[D, C], now clock.Instant) {
	if ev.Accepted {
		return
	}
	ev.Accepted = true
	if ev.Waited {
		ev.Src.Parked--
	}
	if ev.Settled || ev.Letter {
		return
	}
	r.Book.Take()
	if ev.Src.Replier != nil {
		r.Told.Add(ev.Src.Replier)
		_ = ev.Src.Replier.Accept(ev.Promise)
	}
	if ev.Awaiting == 0 {
		r.Settle(ev, ev.Value, nil, now)
	}
}

// Settle settles the promise, unless it is settled.
func (r *Register[D, C]) Settle(ev *Event[D, C], value []byte, err *wire.Error, now clock.Instant) {
	if ev.Settled || ev.Letter {
		return
	}
	ev.Settled = true
	if ev.indexed {
		ev.Src.remove(ev)
	}
	if !ev.Accepted {
		r.Book.Take()
	}
	how, step := book.Resolved, observe.Resolved
	if err != nil {
		how, step = book.Rejected, observe.Rejected
	}
	r.Book.End(how, err)
	r.Record(step, ev, At{}, err, now)
	r.Reply(ev.Src, ev.Promise, value, err)
}

// Reply tells an emitter how a promise settled. What is too large for its lane
// is answered with an error: an emitter that hears nothing waits for ever.
func (r *Register[D, C]) Reply(s *Source[D, C], promise uint64, value []byte, err *wire.Error) {
	if s.Replier == nil {
		return
	}
	r.Told.Add(s.Replier)
	r.settle = wire.Settle{Ref: promise, Value: value, Err: err}
	if e := s.Replier.Settle(&r.settle); errors.Is(e, wire.ErrTooLarge) {
		r.settle = wire.Settle{Ref: promise, Err: reason.LostOutcome(e)}
		_ = s.Replier.Settle(&r.settle)
	}
	r.settle = wire.Settle{}
}

// Answered notes that a delivery that the promise waits for was finished.
// first is for the one that gives the value.
func (r *Register[D, C]) Answered(ev *Event[D, C], first bool, value []byte, err *wire.Error, now clock.Instant) {
	ev.Awaiting--
	switch {
	case err != nil:
		r.Settle(ev, nil, err, now)
	case ev.Awaiting == 0 && ev.Accepted:
		if !first {
			value = ev.Value
		}
		r.Settle(ev, value, nil, now)
	case first && !ev.Settled:
		ev.Value = bytes.Clone(value)
	}
}

// At is where in the life of an event a step happens.
type At struct {
	Route    string
	Instance string
	Attempt  uint32
	Detail   string
}

// Record stores a step in the life of an event.
func (r *Register[D, C]) Record(step observe.Step, ev *Event[D, C], at At, err *wire.Error, now clock.Instant) {
	if r.rec == nil {
		return
	}
	if !r.recording {
		r.recording = true
		r.rec.Begin()
	}
	e := r.rec.Next()
	e.Time, e.Step, e.Event, e.Type, e.Subject = now.Wall, step, ev.ID, ev.Type, reason.Subject(ev.Subject)
	e.Route, e.Instance, e.Attempt, e.Detail, e.Err = at.Route, at.Instance, at.Attempt, at.Detail, reason.Brief(err)
	if step == observe.Emitted {
		e.Correlation, e.Causation, e.Instance = ev.Correlation, ev.Causation, ev.Src.Address
	} else {
		e.Elapsed = now.Since(ev.Born)
	}
}

// Recorded lets others see what was recorded, before the router's lock is given
// up.
func (r *Register[D, C]) Recorded() {
	if r.recording {
		r.recording = false
		r.rec.End()
	}
}

// Records reports whether steps are recorded at all.
func (r *Register[D, C]) Records() bool { return r.rec != nil }

// Refusal returns why an event that was matched goes to none of its routes, or
// nil.
func (ev *Event[D, C]) Refusal(closed bool, now clock.Instant) *wire.Error {
	switch {
	case closed:
		return reason.Shutdown()
	case ev.Oversize > 0:
		return reason.TooLarge(ev.Type, ev.Oversize)
	case len(ev.Deliveries) == 0:
		return reason.Unrouted(ev.Type)
	case ev.Until != 0 && ev.Until <= now.Mono:
		return reason.EmittedLate(ev.Type)
	case ev.Parked > 0 && ev.Src.Parked >= wire.EmitWindow:
		return reason.WindowFull(ev.Src.Address)
	}
	return nil
}

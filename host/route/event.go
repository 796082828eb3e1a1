package route

import (
	"bytes"
	"errors"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/book"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

// kept is the largest data buffer, in bytes, that waits with its event to be
// used again.
const kept = 8 << 10

// event is an event on its way, with its promise. Before Emit takes the lock
// it belongs to that goroutine, then Router.mu guards it.
type event struct {
	wire.Event
	src        *Source
	promise    uint64 // the emitter's number of the promise
	born       int64  // mono
	deadline   int64  // mono, 0 for none
	open       int    // deliveries not finished, and one while Emit works on it
	awaiting   int    // deliveries that the promise waits for
	parked     int    // deliveries for which a queue has no room: not accepted while there are any
	waited     bool   // it was parked, and counts in its source's window until accepted
	accepted   bool
	settled    bool
	letter     bool // carries a dead letter: nobody waits and the ledger of events does not know it
	value      []byte
	deliveries []delivery // one per matching route, in config order
	one        [1]delivery
	oversize   int    // bytes of data that are too many, and were not copied
	buf        []byte // holds Data
}

// newEvent copies an event. Type and source are for the caller to set.
func (r *Router) newEvent(s *Source, promise uint64, e *wire.Event, now clock.Instant) *event {
	ev := r.free.Get().(*event)
	ev.Event = *e
	if len(e.Data) > wire.MaxEvent {
		ev.oversize = len(e.Data)
	} else {
		ev.buf = append(ev.buf[:0], e.Data...)
	}
	ev.Data = ev.buf
	ev.src, ev.promise, ev.born, ev.open = s, promise, now.Mono, 1
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
		ev.deadline = now.OnClock(ev.Deadline)
	}
	return ev
}

// release lets go of an event once; the last one frees it.
func (r *Router) release(ev *event) {
	ev.open--
	if ev.open > 0 {
		return
	}
	buf := ev.buf
	if cap(buf) > kept {
		buf = nil
	}
	*ev = event{buf: buf}
	r.free.Put(ev)
}

// accept says that every matching route has taken the event. With nothing to
// wait for that settles the promise.
func (r *Router) accept(ev *event, now clock.Instant) {
	ev.accepted = true
	if ev.waited {
		ev.src.parked--
	}
	if ev.settled || ev.letter {
		return
	}
	r.book.Take()
	if ev.src.Replier != nil {
		_ = ev.src.Replier.Accept(ev.promise)
	}
	if ev.awaiting == 0 {
		r.settleEvent(ev, ev.value, nil, now)
	}
}

// settleEvent settles the promise, unless it is settled.
func (r *Router) settleEvent(ev *event, value []byte, err *wire.Error, now clock.Instant) {
	if ev.settled || ev.letter {
		return
	}
	ev.settled = true
	if !ev.accepted {
		r.book.Take()
	}
	how, step := book.Resolved, observe.Resolved
	if err != nil {
		how, step = book.Rejected, observe.Rejected
	}
	r.book.End(how)
	r.record(step, ev, nil, err, now)
	r.reply(ev.src, ev.promise, value, err)
}

// reply tells the emitter how its promise settled. What is too large for its
// lane is answered with an error: an emitter that hears nothing waits for ever.
func (r *Router) reply(s *Source, promise uint64, value []byte, err *wire.Error) {
	if s.Replier == nil {
		return
	}
	r.settle = wire.Settle{Ref: promise, Value: value, Err: err}
	if e := s.Replier.Settle(&r.settle); errors.Is(e, wire.ErrTooLarge) {
		r.settle = wire.Settle{Ref: promise, Err: reason.LostOutcome(e)}
		_ = s.Replier.Settle(&r.settle)
	}
	r.settle = wire.Settle{}
}

// answered notes that a delivery the promise may wait for was finished.
func (r *Router) answered(d *delivery, value []byte, err *wire.Error, now clock.Instant) {
	ev := d.ev
	if !d.await {
		return
	}
	ev.awaiting--
	switch {
	case err != nil:
		r.settleEvent(ev, nil, err, now)
	case ev.awaiting == 0 && ev.accepted:
		if !d.first {
			value = ev.value
		}
		r.settleEvent(ev, value, nil, now)
	case d.first && !ev.settled:
		ev.value = bytes.Clone(value)
	}
}

// record stores a step in the life of an event, and of a delivery if there is one.
func (r *Router) record(step observe.Step, ev *event, d *delivery, err *wire.Error, now clock.Instant) {
	if r.rec == nil {
		return
	}
	e := observe.Entry{Time: now.Wall, Step: step, Event: ev.ID, Type: ev.Type, Subject: ev.Subject, Err: err}
	if step != observe.Emitted {
		e.Elapsed = now.Since(ev.born)
	}
	if d != nil {
		e.Route, e.Instance, e.Attempt = d.route.name, d.route.target.address, d.attempt
	}
	r.rec.Record(&e)
}

package instance

import (
	"fmt"

	"github.com/pluginhost/host/host/route"
	"github.com/pluginhost/host/sdk/wire"
)

// The lane is where identity comes from: who sends is known by the lane and
// the handle on it, and what a message claims is checked and not believed. A
// handle of which nothing is known is that of an instance that has left, or of
// none.

// reader takes what one lane sends to the router, a frame at a time.
type reader struct {
	*life
	batch *route.Batch
	owing int // batches since the lane was flushed
}

// patience is after how many batches the plugin is told what became of them,
// although more of it is there to be read. What it is told is mostly that host
// has its events, which nobody waits for but a full window; a plugin that is
// woken for it in the middle of its own work takes the processor for little.
const patience = 4

// handler connects what the plugin sends to the router.
func (l *life) handler(r *route.Router) wire.Handler {
	in := &reader{life: l, batch: r.NewBatch(l.lane, l.lane)}
	return wire.Handler{Emit: in.emit, Settle: in.settle, Credit: in.credit, Detach: in.detach, Withdraw: in.withdraw,
		Batch: func() error {
			err := in.close()
			if in.owing++; in.owing >= patience {
				in.rest()
			}
			return err
		},
		Rest: in.rest}
}

// rest sends the plugin what waits for it.
func (in *reader) rest() {
	in.owing = 0
	in.lane.Flush()
}

// close gives the router what was gathered, and sends back what it did not
// take.
func (in *reader) close() error {
	in.batch.Close()
	for _, late := range in.batch.Late() {
		in.watch(late.Inbox.Address(), late.Err)
		if late.Attempt == 0 { // it would be taken for the answer of a promise
			continue
		}
		if err := in.lane.Settle(&wire.Settle{Ref: uint64(late.Inbox.Handle())<<deliveryBits | late.Ref, Attempt: late.Attempt, Err: late.Err}); err != nil {
			return err
		}
	}
	return nil
}

// inbox returns the committed inbox of a handle, or why there is none.
func (in *reader) inboxOf(handle uint32) (*seat, *route.Inbox, *wire.Error) {
	s := in.seats.at(handle)
	if s == nil {
		return nil, nil, in.absent(handle, wire.ID{})
	}
	inbox := s.inbox.Load()
	if inbox == nil {
		return s, nil, notCommitted
	}
	return s, inbox, nil
}

var notCommitted = &wire.Error{Code: wire.FailedPrecondition, Message: "the instance is not committed, or was drained"}

// absent says why nobody sits at a handle: the instance has left, or the
// handle was never given out here.
func (l *life) absent(handle uint32, event wire.ID) *wire.Error {
	l.mu.Lock()
	given := handle > 0 && handle <= l.last
	l.mu.Unlock()
	if given {
		return notCommitted
	}
	return l.forged("plugin "+l.plugin, event, "the process of plugin %s has no instance %d", l.plugin, handle)
}

// forged notes an attempt to act as somebody else and returns its refusal.
func (l *life) forged(who string, event wire.ID, format string, args ...any) *wire.Error {
	err := &wire.Error{Code: wire.PermissionDenied, Reason: wire.ReasonForged, Message: fmt.Sprintf(format, args...)}
	l.audit.Refuse(who, event, err)
	return err
}

// emit takes an event, unless it is not there whose event it is.
func (in *reader) emit(e *wire.Emit) error {
	s := in.seats.at(e.Instance)
	switch {
	case s == nil:
		return in.lane.Settle(&wire.Settle{Ref: e.Promise, Err: in.absent(e.Instance, e.Event.ID)})
	case s.inbox.Load() == nil: // before its commit
		return in.lane.Settle(&wire.Settle{Ref: e.Promise, Err: notCommitted})
	case e.Event.Type != "" || e.Event.Source != "":
		if err := s.claims(e); err != nil {
			return in.lane.Settle(&wire.Settle{Ref: e.Promise, Err: err})
		}
	}
	if ev := &e.Event; ev.Traceparent != "" || ev.Tracestate != "" {
		ev.Traceparent, ev.Tracestate = wire.TraceContext(ev.Traceparent, ev.Tracestate)
	}
	in.batch.Emit(s.source, e)
	return nil
}

// claims returns what is wrong with an emit that says whose event it is, which
// is host's to say.
func (s *seat) claims(e *wire.Emit) *wire.Error {
	from := s.source.Address
	if s.node != "" {
		from = s.node + "/" + from
	}
	if t := e.Event.Source; t != "" && t != from {
		return s.life.forged(s.source.Address, e.Event.ID, "%s emitted an event in the name of %.100q", s.source.Address, t)
	}
	if t := e.Event.Type; t != "" && int(e.Type) < len(s.source.Events) && t != s.source.Address+"."+s.source.Events[e.Type] {
		return s.life.forged(s.source.Address, e.Event.ID, "%s emitted an event as %.100q", s.source.Address, t)
	}
	return nil
}

// settle takes the outcome of a delivery, by its number or by a token. What is
// not taken is sent back.
func (in *reader) settle(s *wire.Settle) error {
	if s.Token != "" {
		return in.redeem(s)
	}
	seat, inbox, err := in.inboxOf(uint32(s.Ref >> deliveryBits))
	if err == nil {
		if s.Err != nil {
			seat.troubles.Hear(s.Err.Message, in.process.Hide)
		}
		s.Ref &= deliveryMask
		in.batch.Settle(inbox, s)
		return nil
	}
	if s.Attempt == 0 {
		return nil
	}
	return in.lane.Settle(&wire.Settle{Ref: s.Ref, Attempt: s.Attempt, Err: err})
}

// watch notes what the router found to be an attempt to act as somebody else.
func (l *life) watch(instance string, err *wire.Error) {
	if err != nil && (err.Reason == wire.ReasonForged || err.Reason == wire.ReasonUnknownToken) {
		l.audit.Refuse(instance, wire.ID{}, err)
	}
}

// What follows takes effect at once: what came before it in its frame must
// have, too.

func (in *reader) redeem(s *wire.Settle) error {
	if err := in.close(); err != nil {
		return err
	}
	seat, _, err := in.inboxOf(s.Instance)
	if err == nil {
		err = seat.router.Redeem(seat.source.Address, seat.version, s)
		in.watch(seat.source.Address, err)
	}
	return in.lane.Settle(&wire.Settle{Ref: s.Ref, Err: err})
}

func (in *reader) detach(promise, delivery uint64, attempt uint32) error {
	if err := in.close(); err != nil {
		return err
	}
	_, inbox, err := in.inboxOf(uint32(delivery >> deliveryBits))
	var token string
	if err == nil {
		token, err = inbox.Detach(delivery&deliveryMask, attempt)
		in.watch(inbox.Address(), err)
	}
	return in.lane.Settle(&wire.Settle{Ref: promise, Value: []byte(token), Err: err})
}

func (in *reader) withdraw(promise uint64, handle uint32) error {
	if err := in.close(); err != nil {
		return err
	}
	if s, _, err := in.inboxOf(handle); err == nil {
		s.router.Withdraw(s.source, promise)
	}
	return nil
}

func (in *reader) credit(handle, n uint32) error {
	s, inbox, err := in.inboxOf(handle)
	switch {
	case err == nil:
		in.batch.Credit(inbox, n)
	case s != nil:
		return fmt.Errorf("instance %d gave credit before its commit", handle)
	}
	return nil // an instance that has left, or none
}

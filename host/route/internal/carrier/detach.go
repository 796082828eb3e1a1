package carrier

import (
	"time"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/book"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/host/route/internal/token"
	"github.com/pluginhost/host/sdk/wire"
)

// Bounds of detached deliveries.
const (
	MaxDetached = 4096           // for one address
	Longest     = 24 * time.Hour // when neither route nor event has a limit
)

// Detach takes a delivery from the instance that has it and returns a token:
// whoever holds that may settle the delivery with Redeem, while the current
// attempt lasts. It needs neither credit nor instance any more, and counts as
// pending. The subject's turn stays with it.
func (i *Inbox) Detach(number uint64, attempt uint32) (string, *wire.Error) {
	r := i.r
	now := r.Clock.Now()
	r.Mu.Lock()
	d, ledger := i.numbers.Find(number)
	if d == nil || i.Desk.Closed || d.State != InFlight || d.Attempt != attempt {
		defer r.Mu.Unlock()
		return "", i.late(number, attempt, d, ledger)
	}
	defer r.Unlock(now)
	rt := d.Route
	if rt.Target.Detached >= MaxDetached {
		return "", reason.TooManyDetached(i.a.Address, MaxDetached)
	}
	due := d.Due
	if due == 0 {
		due = now.Mono + int64(Longest)
	}
	r.leave(d)
	i.numbers.Remove(number)
	d.Home, d.State, d.Due = nil, Detached, due
	d.Token = r.Tokens.Issue(d)
	rt.Detached++
	rt.Target.Detached++
	r.Arm(d, due)
	r.Dirty.Stir(rt)
	r.Record(observe.Detached, d.Ev, d, nil, now)
	return d.Token, nil
}

// Redeem settles a detached delivery for the holder of s.Token, the instance
// or person by. It copies what it keeps of s but Err. The error has reason
// unknown_token, stale_attempt or already_settled; it is counted.
func (r *Carrier) Redeem(by, version string, s *wire.Settle) *wire.Error {
	now := r.Clock.Now()
	r.Mu.Lock()
	defer r.Unlock(now)
	d, fate := r.Tokens.Find(s.Token)
	if d == nil {
		if fate == token.Unknown {
			return r.refuse(reason.UnknownToken())
		}
		r.Events.Book.Late++
		if fate == token.Used {
			return r.refuse(reason.TokenUsed())
		}
		return r.refuse(reason.TokenStale())
	}
	r.Tokens.End(d.Token, token.Used)
	d.Token = ""
	r.settle(d, s, reason.Located(s.Err, by, version), now)
	return nil
}

// settle applies the outcome of the current attempt.
func (r *Carrier) settle(d *Delivery, s *wire.Settle, err *wire.Error, now clock.Instant) {
	switch {
	case err != nil:
		r.retry(d, err, false, now)
	case len(s.Value) > wire.MaxEvent:
		r.fail(d, reason.ValueTooLarge(len(s.Value)), now)
	default:
		r.finish(d, book.Resolved, s.Value, nil, now)
	}
}

// Withdraw says that the emitter does not wait for a promise any more: what
// the promise waits for ends, without a dead letter, and it is rejected. A
// promise that is settled stays so.
func (r *Carrier) Withdraw(s *Source, promise uint64) {
	now := r.Clock.Now()
	r.Mu.Lock()
	defer r.Unlock(now)
	if ev := s.Find(promise); ev != nil {
		r.abandon(ev, reason.Withdrawn(s.Address), wire.Withdrawn, now)
	}
}

// abandon ends the deliveries that work for a promise which nobody waits for,
// or which was rejected: their handlers are told. One that another route's
// rejection ends is a failure of its own, and goes to a dead letter where its
// route has one.
func (r *Carrier) abandon(ev *Event, err *wire.Error, why wire.Cause, now clock.Instant) {
	if ev.Ending {
		return
	}
	ev.Ending = true
	ev.Open++ // the last of them must not free it
	for n := range ev.Deliveries {
		d := &ev.Deliveries[n]
		if !d.Await || d.State == Fresh || d.State == Idle {
			continue
		}
		if d.State == InFlight {
			r.touch(d.Home.a.Outlet)
			_ = d.Home.a.Outlet.Cancel(d.number, d.Attempt, why)
		}
		if why == wire.Rejected {
			r.fail(d, err, now)
		} else {
			r.finish(d, book.Rejected, nil, err, now)
		}
	}
	r.Events.Release(ev)
}

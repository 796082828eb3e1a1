package route

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
	maxDetached = 4096           // for one address
	longest     = 24 * time.Hour // when neither route nor event has a limit
)

// Detach takes a delivery from the instance that has it and returns a token:
// whoever holds that may settle the delivery with Redeem, while the current
// attempt lasts. It needs neither credit nor instance any more, and counts as
// pending. The subject's turn stays with it.
func (i *Inbox) Detach(number uint64, attempt uint32) (string, *wire.Error) {
	r := i.r
	now := r.clock.Now()
	r.mu.Lock()
	d, ledger := i.numbers.Find(number)
	if d == nil || i.desk.Closed || d.state != inFlight || d.attempt != attempt {
		defer r.mu.Unlock()
		return "", i.late(number, attempt, d, ledger)
	}
	defer r.unlock(now)
	rt := d.route
	if rt.Target.Detached >= maxDetached {
		return "", reason.TooManyDetached(i.a.Address, maxDetached)
	}
	due := d.due
	if due == 0 {
		due = now.Mono + int64(longest)
	}
	r.leave(d)
	i.numbers.Remove(number)
	d.home, d.state, d.due = nil, detached, due
	d.token = r.tokens.Issue(d)
	rt.Detached++
	rt.Target.Detached++
	r.arm(d, due)
	r.dirty.Stir(rt)
	r.record(observe.Detached, d.ev, d, nil, now)
	return d.token, nil
}

// Redeem settles a detached delivery for the holder of s.Token, the instance
// or person by. It copies what it keeps of s but Err. The error has reason
// unknown_token, stale_attempt or already_settled; it is counted.
func (r *Router) Redeem(by, version string, s *wire.Settle) *wire.Error {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.unlock(now)
	d, fate := r.tokens.Find(s.Token)
	if d == nil {
		if fate == token.Unknown {
			return reason.UnknownToken()
		}
		r.events.Book.Late++
		if fate == token.Used {
			return reason.TokenUsed()
		}
		return reason.TokenStale()
	}
	r.tokens.End(d.token, token.Used)
	d.token = ""
	r.settle(d, s, reason.Located(s.Err, by, version), now)
	return nil
}

// settle applies the outcome of the current attempt.
func (r *Router) settle(d *delivery, s *wire.Settle, err *wire.Error, now clock.Instant) {
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
func (r *Router) Withdraw(s *Source, promise uint64) {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.unlock(now)
	if ev := s.Find(promise); ev != nil {
		r.abandon(ev, reason.Withdrawn(s.Address), wire.Withdrawn, now)
	}
}

// abandon ends the deliveries that work for a promise which nobody waits for,
// or which was rejected: their handlers are told. One that another route's
// rejection ends is a failure of its own, and goes to a dead letter where its
// route has one.
func (r *Router) abandon(ev *event, err *wire.Error, why wire.Cause, now clock.Instant) {
	if ev.Ending {
		return
	}
	ev.Ending = true
	ev.Open++ // the last of them must not free it
	for n := range ev.Deliveries {
		d := &ev.Deliveries[n]
		if !d.await || d.state == fresh || d.state == idle {
			continue
		}
		if d.state == inFlight {
			r.touch(d.home.a.Outlet)
			_ = d.home.a.Outlet.Cancel(d.number, d.attempt, why)
		}
		if why == wire.Rejected {
			r.fail(d, err, now)
		} else {
			r.finish(d, book.Rejected, nil, err, now)
		}
	}
	r.events.Release(ev)
}

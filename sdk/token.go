package sdk

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/pluginhost/host/sdk/internal/failure"
	"github.com/pluginhost/host/sdk/internal/promise"
	"github.com/pluginhost/host/sdk/internal/work"
	"github.com/pluginhost/host/sdk/wire"
)

// Token stands for a delivery that was detached. It is text without spaces
// that cannot be guessed: whoever holds it may settle the delivery, so it goes
// to nobody else.
type Token string

// Defer detaches the delivery that ctx handles. The handler then returns, and
// what it returns does not count, except that an error rejects the delivery.
// Anyone who holds the token settles it: an instance by Env.Settle, in this
// process or another, a person by host events settle, a program by the control
// API. An instance hands a delivery on by sending its token.
//
// A detached delivery needs no place and no credit, and outlives this process.
// It keeps the deadline that ctx has: after that the attempt is given up, its
// token is stale, and the route retries or rejects.
//
// Defer fails with ResourceExhausted when too many deliveries are detached
// already; the delivery is then the handler's still. It fails too when ctx
// ends, and with it the attempt.
func Defer(ctx context.Context) (Token, error) {
	c, ok := work.Of(ctx)
	if !ok {
		return "", Errorf(FailedPrecondition, "there is no delivery to detach: Defer takes the context of a handler")
	}
	if c.Token() != "" {
		return "", Errorf(FailedPrecondition, "the delivery is detached already")
	}
	i := c.Owner.(*instance) //nolint:errcheck,forcetypeassert // deliver sets it
	token, err := i.ask(ctx, func(promise uint64) error {
		return i.process.lane.Detach(promise, c.Delivery, c.Attempt)
	})
	if err != nil {
		return "", err
	}
	if !c.Detach(string(token)) {
		return "", Errorf(FailedPrecondition, "the delivery is detached already")
	}
	return Token(token), nil
}

// Settle settles a detached delivery: it resolves it with value, which becomes
// JSON, or rejects it when failed is not nil. An error is an *Error that says
// why that was not taken: reason unknown_token (NotFound) for a token that
// never was, stale_attempt (Aborted) for one whose attempt was given up, and
// already_settled (FailedPrecondition) for one that was used.
func (e *Env) Settle(ctx context.Context, t Token, value any, failed error) error {
	s := wire.Settle{Token: string(t), Instance: e.instance.handle}
	if failed != nil {
		s.Err = failure.Of(failed)
	} else if value != nil {
		var err error
		if s.Value, err = json.Marshal(value); err != nil {
			return Errorf(InvalidArgument, "value of a delivery: %v", err)
		}
	}
	if !e.instance.open.Load() {
		return Errorf(FailedPrecondition, "the instance is not committed, or was drained")
	}
	if _, err := e.instance.ask(ctx, func(promise uint64) error {
		s.Ref = promise
		return e.instance.process.lane.Settle(&s)
	}); err != nil {
		return err
	}
	return nil
}

// Follow makes the delivery being handled settle as a promise does, when a
// handler returns it as its error. The handler's place is free meanwhile. When
// nobody waits for the delivery any more, the promise is canceled. A delivery that
// was detached follows it too, unless somebody settles it before.
func Follow(p *Promise) error {
	return &work.Linked{Then: p.outcome.Then, Drop: p.Cancel}
}

// ask sends something that host answers as it answers an emit.
func (i *instance) ask(ctx context.Context, send func(promise uint64) error) (Value, error) {
	o := &promise.Outcome{}
	if _, refused := i.process.promises.Add(ctx, o); refused != nil {
		return nil, refused
	}
	if err := send(o.Number()); err != nil {
		code := Unavailable
		if errors.Is(err, wire.ErrTooLarge) {
			code = InvalidArgument
		}
		i.process.promises.Settle(o.Number(), nil, Errorf(code, "%v", err))
	}
	i.process.await(ctx)
	defer i.process.awaited()
	return o.Wait(ctx)
}

// detached ends the call of a delivery that was detached. A handler that
// failed after that rejects it, if nobody was faster.
func (i *instance) detached(t Token, failed *Error) {
	if failed == nil {
		return
	}
	if err := i.redeem(t, nil, failed); err != nil {
		i.process.log.Warn("a handler failed after it had detached its delivery", "error", failed, "settle", err)
	}
}

// redeem settles a detached delivery that was this instance's.
func (i *instance) redeem(t Token, value []byte, failed *Error) error {
	ctx, cancel := context.WithTimeout(context.Background(), endGrace)
	defer cancel()
	_, err := i.ask(ctx, func(promise uint64) error {
		return i.process.lane.Settle(&wire.Settle{Ref: promise, Token: string(t), Instance: i.handle, Value: value, Err: failed})
	})
	return err
}

// followDetached settles a delivery that was detached as a promise does, if nobody
// was faster. The drain waits for it.
func (i *instance) followDetached(c *work.Call, t Token, link *work.Linked) {
	held := i.pool.Hold(c, nil)
	link.Then(func(value []byte, err *wire.Error) {
		go func() { // whoever settles the promise reads the answer, too
			if late := i.redeem(t, value, err); late != nil {
				i.process.log.Debug("a promise settled after the detached delivery that follows it", "settle", late)
			}
			if held {
				i.pool.Release(c)
			}
		}()
	})
}

// canceled is the cause with which a handler's context ends.
func canceled(why wire.Cause) *Error {
	switch why {
	case wire.TimedOut:
		return &Error{Code: DeadlineExceeded, Message: "the attempt was not settled in time"}
	case wire.Withdrawn:
		return &Error{Code: Canceled, Reason: wire.ReasonWithdrawn, Message: "the emitter does not want the outcome any more"}
	case wire.Rejected:
		return &Error{Code: Canceled, Reason: wire.ReasonRejected, Message: "another route rejected the promise"}
	}
	return &Error{Code: Canceled, Message: "the outcome is not wanted any more"}
}

package sdk

import (
	"context"
	"encoding/json"

	"github.com/pluginhost/host/sdk/internal/promise"
)

// Promise is the future outcome of an event. Its methods may be called from
// any goroutine.
type Promise struct {
	id       ID
	instance *instance // that emitted it; nil for one that never was pending
	outcome  promise.Outcome
}

// rejected is a promise that never was pending.
func rejected(id ID, err *Error) *Promise {
	p := &Promise{id: id}
	p.outcome.Settle(nil, err)
	return p
}

// ID returns the id of the event.
func (p *Promise) ID() ID { return p.id }

// Accepted waits until host has the event, or returns why it has not.
func (p *Promise) Accepted(ctx context.Context) error {
	if p.instance != nil {
		p.instance.process.await(ctx)
		defer p.instance.process.awaited()
	}
	return p.outcome.Accepted(ctx)
}

// Done is closed when the promise is settled.
func (p *Promise) Done() <-chan struct{} {
	if p.instance != nil {
		p.instance.process.lane.Flush()
	}
	return p.outcome.Done()
}

// Wait waits for the outcome. The error is an *Error, also when ctx ends: the
// promise is then still pending.
func (p *Promise) Wait(ctx context.Context) (Value, error) {
	if p.instance != nil && !p.outcome.Settled() {
		p.instance.process.await(ctx)
		defer p.instance.process.awaited()
	}
	return p.outcome.Wait(ctx)
}

// Cancel says that nobody waits for the outcome any more. host then cancels
// the handlers that work for it, whose contexts end, and rejects the promise
// with Canceled, reason withdrawn. A promise that is settled, or that settles
// in the same moment, keeps its outcome. Routes with await = false go on.
func (p *Promise) Cancel() {
	if i := p.instance; i != nil && !p.outcome.Settled() {
		_ = i.process.lane.Withdraw(p.outcome.Number(), i.handle) // a lane that is gone rejects all its promises
	}
}

// Value is what a promise was resolved with: JSON, or nothing.
type Value []byte

// Into decodes the value. Nothing leaves dst as it is.
func (v Value) Into(dst any) error {
	if len(v) == 0 {
		return nil
	}
	if err := json.Unmarshal(v, dst); err != nil {
		return Errorf(InvalidArgument, "value of the promise: %v", err)
	}
	return nil
}

package sdk

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/pluginhost/host/sdk/internal/failure"
)

// Promise is the future outcome of an event. Its methods may be called from
// any goroutine.
type Promise struct {
	id       ID
	instance *instance // that emitted it; nil for one that never was pending
	number   uint64

	mu       sync.Mutex
	accepted bool
	settled  bool
	value    Value
	err      *Error
	wake     chan struct{} // of the one in Wait, one of wakers; nil when there is none
	// Made when somebody asks: most promises have one who waits, or none.
	onAccept chan struct{}
	onSettle chan struct{}
	then     []func(value []byte, err *Error)
}

// rejected is a promise that never was pending.
func rejected(id ID, err *Error) *Promise { return &Promise{id: id, settled: true, err: err} }

// ID returns the id of the event.
func (p *Promise) ID() ID { return p.id }

// Accepted waits until host has the event, or returns why it has not.
func (p *Promise) Accepted(ctx context.Context) error {
	p.mu.Lock()
	if p.onAccept == nil {
		p.onAccept = make(chan struct{})
		if p.accepted || p.settled {
			close(p.onAccept)
		}
	}
	wait := p.onAccept
	p.mu.Unlock()
	select {
	case <-wait:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.accepted || p.settled && p.err == nil:
		return nil
	case p.settled:
		return p.err
	}
	return failure.Of(ctx.Err())
}

// Done is closed when the promise is settled.
func (p *Promise) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done()
}

// done is Done; the lock is held.
func (p *Promise) done() chan struct{} {
	if p.onSettle == nil {
		p.onSettle = make(chan struct{})
		if p.settled {
			close(p.onSettle)
		}
	}
	return p.onSettle
}

// Wait waits for the outcome. The error is an *Error, also when ctx ends: the
// promise is then still pending.
func (p *Promise) Wait(ctx context.Context) (Value, error) {
	if value, err, ok := p.outcome(); ok {
		return value, err
	}
	settled, wake := p.settling()
	select {
	case <-settled:
	case <-ctx.Done():
	}
	if wake {
		p.awake(settled)
	}
	if value, err, ok := p.outcome(); ok {
		return value, err
	}
	return nil, failure.Of(ctx.Err())
}

// settling returns a channel from which something can be taken when the
// promise is settled. The first who asks has one of the wakers, and gives it
// back to awake; the others share Done.
func (p *Promise) settling() (c chan struct{}, wake bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wake != nil || p.settled || p.instance == nil {
		return p.done(), false
	}
	p.wake = p.instance.process.promises.waker()
	return p.wake, true
}

func (p *Promise) awake(c chan struct{}) {
	p.mu.Lock()
	p.wake = nil
	p.mu.Unlock()
	select { // where ctx ended in the same moment
	case <-c:
	default:
	}
	p.instance.process.promises.wakers.Put(c)
}

func (p *Promise) outcome() (value Value, err error, settled bool) { //nolint:revive,staticcheck // the error is the outcome's, not the call's
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		err = p.err
	}
	return p.value, err, p.settled
}

func (p *Promise) accept() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accepted || p.settled {
		return
	}
	p.accepted = true
	if p.onAccept != nil {
		close(p.onAccept)
	}
}

func (p *Promise) settle(value Value, err *Error) {
	p.mu.Lock()
	if p.settled {
		p.mu.Unlock()
		return
	}
	p.settled, p.value, p.err = true, value, err
	if p.wake != nil {
		p.wake <- struct{}{} // there is room: it settles once
	}
	if p.onSettle != nil {
		close(p.onSettle)
	}
	if p.onAccept != nil && !p.accepted {
		close(p.onAccept)
	}
	then := p.then
	p.then = nil
	p.mu.Unlock()
	for _, f := range then {
		f(value, err)
	}
}

// whenSettled calls f once with the outcome, at once when there is one.
func (p *Promise) whenSettled(f func(value []byte, err *Error)) {
	p.mu.Lock()
	if !p.settled {
		p.then = append(p.then, f)
		p.mu.Unlock()
		return
	}
	value, err := p.value, p.err
	p.mu.Unlock()
	f(value, err)
}

// Cancel says that nobody waits for the outcome any more. host then cancels
// the handlers that work for it, whose contexts end, and rejects the promise
// with Canceled, reason withdrawn. A promise that is settled, or that settles
// in the same moment, keeps its outcome. Routes with await = false go on.
func (p *Promise) Cancel() {
	p.mu.Lock()
	i, number, settled := p.instance, p.number, p.settled
	p.mu.Unlock()
	if i != nil && !settled {
		_ = i.process.lane.Withdraw(number, i.handle) // a lane that is gone rejects all its promises
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

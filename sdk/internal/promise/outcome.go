// Package promise has what is behind the promises of a plugin process: the
// outcome that one waits for, and the table of those that host has not settled.
// It sends nothing; who emits adds the promise, and the lane's reader takes the
// answers.
package promise

import (
	"context"
	"sync"

	"github.com/pluginhost/host/sdk/internal/failure"
	"github.com/pluginhost/host/sdk/wire"
)

// Outcome is what host says of one promise, once. The zero Outcome is not
// settled, and pending when a Table has it.
type Outcome struct {
	number uint64 // in the table; 0 for one that never was pending

	mu       sync.Mutex
	accepted bool
	settled  bool
	value    []byte
	err      *wire.Error
	wake     chan struct{} // of the one in Wait, one of wakers; nil when there is none
	// Made when somebody asks: most promises have one who waits, or none.
	onAccept chan struct{}
	onSettle chan struct{}
	then     []func(value []byte, err *wire.Error)
}

// wakers are channels with a place for one, for somebody who waits: to make and
// close one for each promise costs more than the wait.
var wakers = sync.Pool{New: func() any { return make(chan struct{}, 1) }}

// Number is the promise's number on the lane, after Add.
func (o *Outcome) Number() uint64 { return o.number }

// Accepted waits until host has the event, or returns why it has not. The error
// is a *wire.Error.
func (o *Outcome) Accepted(ctx context.Context) error {
	o.mu.Lock()
	if o.onAccept == nil {
		o.onAccept = make(chan struct{})
		if o.accepted || o.settled {
			close(o.onAccept)
		}
	}
	wait := o.onAccept
	o.mu.Unlock()
	select {
	case <-wait:
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.accepted || o.settled && o.err == nil:
		return nil
	case o.settled:
		return o.err
	}
	return failure.Of(ctx.Err())
}

// Done is closed when there is an outcome.
func (o *Outcome) Done() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.done()
}

// done is Done; the lock is held.
func (o *Outcome) done() chan struct{} {
	if o.onSettle == nil {
		o.onSettle = make(chan struct{})
		if o.settled {
			close(o.onSettle)
		}
	}
	return o.onSettle
}

// Settled reports whether there is an outcome.
func (o *Outcome) Settled() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.settled
}

// Wait waits for the outcome. The error is a *wire.Error, also when ctx ends:
// the promise is then still pending.
func (o *Outcome) Wait(ctx context.Context) ([]byte, error) {
	if value, err, ok := o.get(); ok {
		return value, err
	}
	settled, wake := o.settling()
	took := false
	select {
	case <-settled:
		took = true
	case <-ctx.Done():
	}
	if wake {
		o.awake(settled, took)
	}
	if value, err, ok := o.get(); ok {
		return value, err
	}
	return nil, failure.Of(ctx.Err())
}

// settling returns a channel from which something can be taken when the
// promise is settled. The first who asks has one of the wakers, and gives it
// back to awake; the others share Done.
func (o *Outcome) settling() (c chan struct{}, wake bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wake != nil || o.settled {
		return o.done(), false
	}
	o.wake = wakers.Get().(chan struct{}) //nolint:errcheck,forcetypeassert // there is nothing else in it
	return o.wake, true
}

func (o *Outcome) awake(c chan struct{}, took bool) {
	o.mu.Lock()
	o.wake = nil
	settled := o.settled
	o.mu.Unlock()
	if settled && !took { // ctx ended in the same moment
		<-c
	}
	wakers.Put(c)
}

func (o *Outcome) get() (value []byte, err error, settled bool) { //nolint:revive,staticcheck // the error is the outcome's, not the call's
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		err = o.err
	}
	return o.value, err, o.settled
}

func (o *Outcome) accept() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.accepted || o.settled {
		return
	}
	o.accepted = true
	if o.onAccept != nil {
		close(o.onAccept)
	}
}

// Settle gives the outcome of a promise that no table has. The first stays.
func (o *Outcome) Settle(value []byte, err *wire.Error) {
	if wake := o.settle(value, err); wake != nil {
		wake <- struct{}{} // there is room: it settles once
	}
}

// settle is Settle, but leaves to the caller to wake the one who waits.
func (o *Outcome) settle(value []byte, err *wire.Error) (wake chan<- struct{}) {
	o.mu.Lock()
	if o.settled {
		o.mu.Unlock()
		return nil
	}
	o.settled, o.value, o.err = true, value, err
	wake = o.wake
	if o.onSettle != nil {
		close(o.onSettle)
	}
	if o.onAccept != nil && !o.accepted {
		close(o.onAccept)
	}
	then := o.then
	o.then = nil
	o.mu.Unlock()
	for _, f := range then {
		f(value, err)
	}
	return wake
}

// Then calls f once with the outcome, at once when there is one.
func (o *Outcome) Then(f func(value []byte, err *wire.Error)) {
	o.mu.Lock()
	if !o.settled {
		o.then = append(o.then, f)
		o.mu.Unlock()
		return
	}
	value, err := o.value, o.err
	o.mu.Unlock()
	f(value, err)
}

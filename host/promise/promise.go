// Package promise holds a future outcome: pending, then resolved or rejected,
// exactly once. A Promise is the side of those who wait, its Resolver the side
// of the one owner who must settle it. It starts no goroutine, and it knows
// nothing of events, routes or deadlines.
//
// A resolver that is never settled is the bug of its owner: who waits then
// waits until their own context ends. An owner therefore settles on every way
// out, or defers a Reject, which does nothing when the promise is settled.
//
// The promise of an event that a plugin emitted lives in the plugin. The
// router keeps only its number beside the event, because a channel and a
// callback for each of a million events a second would be made for nobody. It
// makes a Promise of this package when host itself asks.
package promise

import (
	"context"
	"errors"
	"sync"
)

// ErrNoReason stands in for the nil error of a Reject.
var ErrNoReason = errors.New("promise rejected without a reason")

// Outcome is how a promise was settled. Value counts only when Err is nil.
type Outcome[T any] struct {
	Value T
	Err   error
}

// Promise is an outcome to come. Its methods may be called from any goroutine.
type Promise[T any] struct {
	mu      sync.Mutex
	settled bool
	outcome Outcome[T]
	done    chan struct{} // made when somebody asks for it
	then    []func(Outcome[T])
}

// Resolver settles a promise. Its methods may be called from any goroutine;
// the first call wins, and each reports whether it was the first.
type Resolver[T any] struct{ p *Promise[T] }

// New returns a pending promise and the way to settle it.
func New[T any]() (*Promise[T], Resolver[T]) {
	p := &Promise[T]{}
	return p, Resolver[T]{p}
}

// Resolve settles the promise with a value.
func (r Resolver[T]) Resolve(v T) bool { return r.p.settle(Outcome[T]{Value: v}) }

// Reject settles the promise with an error.
func (r Resolver[T]) Reject(err error) bool {
	if err == nil {
		err = ErrNoReason
	}
	return r.p.settle(Outcome[T]{Err: err})
}

// settle calls the callbacks without the lock, so that they may use the
// promise, and after Done is closed.
func (p *Promise[T]) settle(o Outcome[T]) bool {
	p.mu.Lock()
	if p.settled {
		p.mu.Unlock()
		return false
	}
	p.settled, p.outcome = true, o
	if p.done != nil {
		close(p.done)
	}
	then := p.then
	p.then = nil
	p.mu.Unlock()
	for _, f := range then {
		f(o)
	}
	return true
}

// Done is closed when the promise is settled.
func (p *Promise[T]) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		p.done = make(chan struct{})
		if p.settled {
			close(p.done)
		}
	}
	return p.done
}

// Outcome returns the outcome and whether there is one yet.
func (p *Promise[T]) Outcome() (Outcome[T], bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.outcome, p.settled
}

// Wait returns the outcome's value or error, or ctx's error when that ends
// first: the promise is then still pending and may be waited for again.
func (p *Promise[T]) Wait(ctx context.Context) (T, error) {
	select {
	case <-p.Done():
	case <-ctx.Done():
	}
	// A settled promise wins over a context that ended at the same time.
	o, ok := p.Outcome()
	if !ok {
		return o.Value, ctx.Err()
	}
	return o.Value, o.Err
}

// Then calls f with the outcome once: in the goroutine that settles the
// promise, in the order of the Then calls, or at once when it is settled. f
// must not block.
func (p *Promise[T]) Then(f func(Outcome[T])) {
	p.mu.Lock()
	if !p.settled {
		p.then = append(p.then, f)
		p.mu.Unlock()
		return
	}
	o := p.outcome
	p.mu.Unlock()
	f(o)
}

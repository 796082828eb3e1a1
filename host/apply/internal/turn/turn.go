// Package turn decides whose turn it is: one runs and one waits, and the newest
// wins. It knows nothing of what they do.
package turn

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Why a turn was taken away.
var (
	ErrSuperseded = errors.New("a newer reload took its place")
	ErrClosed     = errors.New("the daemon is stopping")
)

// Queue is the order of those who want to run.
type Queue struct {
	slot  chan struct{} // held by whoever runs
	again chan struct{} // has a value when owed is to be called

	mu      sync.Mutex
	running *turn
	waiting *turn
	owed    func(context.Context) // for what lost its turn to one that has not ended
	closed  bool
}

type turn struct {
	cancel context.CancelCauseFunc
	again  func(context.Context)
}

// NewQueue returns a queue in which nobody is.
func NewQueue() *Queue { return &Queue{slot: make(chan struct{}, 1), again: make(chan struct{}, 1)} }

// Take runs f when it is its turn, which ends with ctx. Whoever runs or waits
// has its ctx ended with ErrSuperseded, and f follows when it has returned. An
// error, which is the cause, means that f was not called.
//
// f reports whether it did what it was to do. Where it did not because its
// caller has gone, the one whose place it took is owed its turn: again, which
// does the same and may be called much later, is what Again calls.
func (q *Queue) Take(ctx context.Context, again func(context.Context), f func(context.Context) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	me := &turn{cancel, again}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return ErrClosed
	}
	for _, t := range []*turn{q.running, q.waiting} { // of two, the newer is owed
		if t != nil {
			t.cancel(ErrSuperseded)
			if t.again != nil {
				q.owed = t.again
			}
		}
	}
	q.waiting = me
	q.mu.Unlock()
	did := false
	err := q.run(ctx, me, func(ctx context.Context) { did = f(ctx) })
	q.mu.Lock()
	defer q.mu.Unlock()
	switch cause := context.Cause(ctx); {
	case did:
		q.owed = nil
	case q.owed != nil && cause != nil && !errors.Is(cause, ErrSuperseded) && !errors.Is(cause, ErrClosed):
		select {
		case q.again <- struct{}{}:
		default: // it has one
		}
	}
	return err
}

// Owed has a value when somebody is owed a turn; call Again then.
func (q *Queue) Owed() <-chan struct{} { return q.again }

// Again gives those who are owed a turn theirs.
func (q *Queue) Again(ctx context.Context) {
	q.mu.Lock()
	f := q.owed
	q.owed = nil
	q.mu.Unlock()
	if f != nil {
		_ = q.Take(ctx, f, func(ctx context.Context) bool { f(ctx); return ctx.Err() == nil })
	}
}

// Follow runs f when nobody else does. It takes nobody's place, and a Take
// takes its.
func (q *Queue) Follow(ctx context.Context, f func(context.Context)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return q.run(ctx, &turn{cancel: cancel}, f)
}

func (q *Queue) run(ctx context.Context, me *turn, f func(context.Context)) error {
	defer q.leave(me)
	select {
	case q.slot <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-q.slot }()
	q.mu.Lock()
	if q.waiting == me {
		q.waiting = nil
	}
	q.running = me
	closed := q.closed
	q.mu.Unlock()
	if closed {
		return ErrClosed
	}
	f(ctx)
	return nil
}

// leave gives up a turn.
func (q *Queue) leave(me *turn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == me {
		q.waiting = nil
	}
	if q.running == me {
		q.running = nil
	}
}

// Closed reports whether Close has been called.
func (q *Queue) Closed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// Close ends all turns with ErrClosed, and returns when nobody runs any more
// and nobody will.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	for _, t := range []*turn{q.waiting, q.running} {
		if t != nil {
			t.cancel(ErrClosed)
		}
	}
	q.mu.Unlock()
	q.slot <- struct{}{} // for good
}

// Patience runs calls that cannot be ended, and does not wait for those that
// take too long. It bounds how many of them there are.
type Patience struct {
	slots chan struct{}
	calls sync.WaitGroup
}

// NewPatience returns one for at most n calls at once, given up or not.
func NewPatience(n int) *Patience { return &Patience{slots: make(chan struct{}, n)} }

// Call runs f and returns nil when it has returned. The error is the cause of
// ctx's end, after which f goes on alone.
func (p *Patience) Call(ctx context.Context, f func()) error {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w; %d before it have not come back", context.Cause(ctx), len(p.slots))
	}
	done := make(chan struct{})
	p.calls.Go(func() {
		defer func() { <-p.slots }()
		defer close(done)
		f()
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Wait waits for those that were given up, until ctx ends: one that hangs in a
// file system ends with the process.
func (p *Patience) Wait(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.calls.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

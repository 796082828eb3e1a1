package sdk

import (
	"context"
	"slices"
	"sync"

	"github.com/pluginhost/host/sdk/internal/failure"
	"github.com/pluginhost/host/sdk/wire"
)

// maxPending bounds the promises of a process that host has not settled.
const maxPending = 1 << 16

// promises are the pending promises of a lane. A promise's number is the index
// of its slot and how often that slot was used, so that finding it needs no
// map and a late answer finds nothing.
type promises struct {
	mu         sync.Mutex
	slots      []slot
	free       []uint32
	unaccepted int // at most wire.EmitWindow
	pending    int // at most maxPending, those about to be added included
	waiting    []*waiter
	wakers     sync.Pool // of channels with a place for one: to make and close one for each promise costs more than the wait
	closed     *Error    // why nothing is added any more
}

type slot struct {
	promise  *Promise // nil while free
	number   uint64
	accepted bool
}

// waker is a channel for somebody who waits for a promise.
func (t *promises) waker() chan struct{} {
	if c, ok := t.wakers.Get().(chan struct{}); ok {
		return c
	}
	return make(chan struct{}, 1)
}

// waiter waits for room in the window.
type waiter struct {
	room    chan struct{} // closed when granted, or when the table is closed
	granted bool
}

const slotBits = 20

// add waits for room and numbers a promise. The caller sends its event after.
// alone says that no other promise is pending.
func (t *promises) add(ctx context.Context, p *Promise) (number uint64, alone bool, err *Error) {
	t.mu.Lock()
	if t.closed == nil && !t.room() {
		w := &waiter{room: make(chan struct{})}
		t.waiting = append(t.waiting, w)
		t.mu.Unlock()
		select {
		case <-w.room:
			t.mu.Lock()
		case <-ctx.Done():
			t.mu.Lock()
			if !w.granted {
				t.waiting = slices.DeleteFunc(t.waiting, func(x *waiter) bool { return x == w })
				t.mu.Unlock()
				return 0, false, failure.Of(ctx.Err())
			}
		}
	} else if t.closed == nil {
		t.unaccepted++
		t.pending++
	}
	defer t.mu.Unlock()
	if t.closed != nil {
		return 0, false, t.closed
	}
	var i uint32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		i = uint32(len(t.slots))
		t.slots = append(t.slots, slot{number: uint64(i)})
	}
	s := &t.slots[i]
	s.promise, s.accepted = p, false
	s.number += 1 << slotBits
	return s.number, t.pending == 1, nil
}

func (t *promises) room() bool {
	return t.unaccepted < wire.EmitWindow && t.pending < maxPending
}

// grant gives room to those who wait, in order.
func (t *promises) grant() {
	for len(t.waiting) > 0 && t.room() {
		w := t.waiting[0]
		t.waiting[0] = nil
		t.waiting = t.waiting[1:]
		w.granted = true
		t.unaccepted++
		t.pending++
		close(w.room)
	}
}

// find returns the slot of a pending promise, or nil.
func (t *promises) find(number uint64) *slot {
	i := number & (1<<slotBits - 1)
	if i >= uint64(len(t.slots)) || t.slots[i].number != number || t.slots[i].promise == nil {
		return nil
	}
	return &t.slots[i]
}

// answer is what host says of a promise: that it has the event, or the outcome.
type answer struct {
	promise *Promise // found
	number  uint64
	accept  bool
	value   Value
	err     *Error
}

// maxAnswers bounds what is gathered of a frame.
const maxAnswers = 1024

// take takes answers in their order. A second one, or one after the promise
// was settled, is nothing.
func (t *promises) take(answers []answer) {
	if len(answers) == 0 {
		return
	}
	t.mu.Lock()
	for n := range answers {
		a := &answers[n]
		s := t.find(a.number)
		switch {
		case s == nil || a.accept && s.accepted:
			continue
		case a.accept:
			s.accepted = true
			t.unaccepted--
			a.promise = s.promise
		default:
			a.promise = s.promise
			s.promise = nil
			t.free = append(t.free, uint32(a.number&(1<<slotBits-1)))
			if !s.accepted {
				t.unaccepted--
			}
			t.pending--
		}
	}
	t.grant()
	t.mu.Unlock()
	for n := range answers {
		switch a := &answers[n]; {
		case a.promise == nil:
		case a.accept:
			a.promise.accept()
		default:
			a.promise.settle(a.value, a.err)
		}
	}
}

// settle ends one promise.
func (t *promises) settle(number uint64, value Value, err *Error) {
	t.take([]answer{{number: number, value: value, err: err}})
}

// close rejects what is pending and all that comes.
func (t *promises) close(err *Error) {
	t.mu.Lock()
	if t.closed != nil {
		t.mu.Unlock()
		return
	}
	t.closed = err
	var pending []*Promise
	for i := range t.slots {
		if p := t.slots[i].promise; p != nil {
			pending = append(pending, p)
			t.slots[i].promise = nil
		}
	}
	for _, w := range t.waiting {
		w.granted = true
		close(w.room)
	}
	t.waiting = nil
	t.mu.Unlock()
	for _, p := range pending {
		p.settle(nil, err)
	}
}

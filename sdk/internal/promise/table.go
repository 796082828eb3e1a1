package promise

import (
	"context"
	"slices"
	"sync"

	"github.com/pluginhost/host/sdk/internal/failure"
	"github.com/pluginhost/host/sdk/wire"
)

// maxPending bounds the promises of a process that host has not settled.
const maxPending = 1 << 16

// Table are the pending promises of a lane, and the window of those that host
// has not accepted. A promise's number is the index of its slot and how often
// that slot was used, so that finding it needs no map and a late answer finds
// nothing. The zero Table is empty.
type Table struct {
	// Full, where it is set, is called before Add waits.
	Full func(ctx context.Context)

	mu         sync.Mutex
	slots      []slot
	free       []uint32
	unaccepted int // at most wire.EmitWindow
	pending    int // at most maxPending, those about to be added included
	waiting    []*waiter
	closed     *wire.Error // why nothing is added any more
}

type slot struct {
	outcome  *Outcome // nil while free
	number   uint64
	accepted bool
}

// waiter waits for room in the window.
type waiter struct {
	room    chan struct{} // closed when granted, or when the table is closed
	granted bool
}

const slotBits = 20

// Add waits for room and numbers a promise. The caller sends its event after.
// alone says that no other promise is pending.
func (t *Table) Add(ctx context.Context, o *Outcome) (alone bool, err *wire.Error) {
	t.mu.Lock()
	if t.closed == nil && !t.room() {
		w := &waiter{room: make(chan struct{})}
		t.waiting = append(t.waiting, w)
		t.mu.Unlock()
		if t.Full != nil {
			t.Full(ctx)
		}
		select {
		case <-w.room:
			t.mu.Lock()
		case <-ctx.Done():
			t.mu.Lock()
			if !w.granted {
				t.waiting = slices.DeleteFunc(t.waiting, func(x *waiter) bool { return x == w })
				t.mu.Unlock()
				return false, failure.Of(ctx.Err())
			}
		}
	} else if t.closed == nil {
		t.unaccepted++
		t.pending++
	}
	defer t.mu.Unlock()
	if t.closed != nil {
		return false, t.closed
	}
	var i uint32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		i = uint32(len(t.slots))
		t.slots = append(t.slots, slot{number: uint64(i)})
	}
	s := &t.slots[i]
	s.outcome, s.accepted = o, false
	s.number += 1 << slotBits
	o.number = s.number
	return t.pending == 1, nil
}

func (t *Table) room() bool {
	return t.unaccepted < wire.EmitWindow && t.pending < maxPending
}

// grant gives room to those who wait, in order.
func (t *Table) grant() {
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
func (t *Table) find(number uint64) *slot {
	i := number & (1<<slotBits - 1)
	if i >= uint64(len(t.slots)) || t.slots[i].number != number || t.slots[i].outcome == nil {
		return nil
	}
	return &t.slots[i]
}

// Answer is what host says of a promise: that it has the event, or the outcome.
type Answer struct {
	Number  uint64
	Accept  bool
	Value   []byte
	Err     *wire.Error
	outcome *Outcome // found
	wake    chan<- struct{}
}

// MaxAnswers is how many answers are gathered of a frame before they are taken.
const MaxAnswers = 1024

// Take takes answers in their order. A second one, or one after the promise
// was settled, is nothing.
func (t *Table) Take(answers []Answer) {
	if len(answers) == 0 {
		return
	}
	t.mu.Lock()
	for n := range answers {
		a := &answers[n]
		s := t.find(a.Number)
		switch {
		case s == nil || a.Accept && s.accepted:
			continue
		case a.Accept:
			s.accepted = true
			t.unaccepted--
			a.outcome = s.outcome
		default:
			a.outcome = s.outcome
			s.outcome = nil
			t.free = append(t.free, uint32(a.Number&(1<<slotBits-1)))
			if !s.accepted {
				t.unaccepted--
			}
			t.pending--
		}
	}
	t.grant()
	t.mu.Unlock()
	// Who waits is woken when all is done: it would find the next promise
	// unsettled, and wait again.
	wakes := answers[:0]
	for n := range answers {
		switch a := &answers[n]; {
		case a.outcome == nil:
		case a.Accept:
			a.outcome.accept()
		default:
			if wake := a.outcome.settle(a.Value, a.Err); wake != nil {
				wakes = append(wakes, Answer{wake: wake})
			}
		}
	}
	for n := range wakes {
		wakes[n].wake <- struct{}{}
	}
}

// Settle ends one promise.
func (t *Table) Settle(number uint64, value []byte, err *wire.Error) {
	t.Take([]Answer{{Number: number, Value: value, Err: err}})
}

// Close rejects what is pending and all that comes.
func (t *Table) Close(err *wire.Error) {
	t.mu.Lock()
	if t.closed != nil {
		t.mu.Unlock()
		return
	}
	t.closed = err
	var pending []*Outcome
	for i := range t.slots {
		if o := t.slots[i].outcome; o != nil {
			pending = append(pending, o)
			t.slots[i].outcome = nil
		}
	}
	for _, w := range t.waiting {
		w.granted = true
		close(w.room)
	}
	t.waiting = nil
	t.mu.Unlock()
	for _, o := range pending {
		o.Settle(nil, err)
	}
}

// Package work runs the handlers of an instance: a pool of goroutines, and the
// context that each handler gets.
package work

import (
	"sync"
	"time"

	"github.com/pluginhost/host/sdk/wire"
)

// Pool runs the calls of one instance, each on a goroutine that handles
// nothing else meanwhile. Goroutines are made when calls need them and used
// again. Waking one costs more than a small handler, so at most one is on its
// way at any moment: it looks whether another is needed before it runs a
// handler, and one that is done takes the next call before anybody wakes.
type Pool struct {
	handle func(*Call)
	rest   func(calls int, last bool)
	limit  int // calls at once

	mu      sync.Mutex
	wake    sync.Cond // of an idle worker, or of Close
	queue   []*Call   // waiting for a worker
	head    int       // of queue
	calls   *Call     // queued and being handled
	count   int       // of calls
	busy    int       // of calls: not handled yet, at most limit
	done    int       // of calls: handled by the leader, of which rest was not told
	workers int
	idle    int
	waking  bool          // a worker is on its way
	slow    int           // calls that are the workers' before the leader runs one again
	slower  int           // what slow will be next
	closed  bool          // nothing is added
	empty   chan struct{} // closed when count is 0; nil when nobody waits
}

// NewPool returns a pool that handles up to limit calls at once. After calls,
// when their places are free, rest is called, and told how many there were and
// whether no other waits.
func NewPool(limit int, handle func(*Call), rest func(calls int, last bool)) *Pool {
	p := &Pool{handle: handle, rest: rest, limit: limit}
	p.wake.L = &p.mu
	return p
}

// Put queues a call for a worker; Rouse follows when there are no more. It reports false when the pool is closed or
// has as many calls as it may.
func (p *Pool) Put(c *Call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.busy >= p.limit {
		return false
	}
	if p.slow > 0 {
		p.slow--
	}
	p.count++
	p.busy++
	c.next = p.calls
	if p.calls != nil {
		p.calls.prev = c
	}
	p.calls = c
	p.queue = append(p.queue, c)
	return true
}

// Rouse gets the calls that were put a worker.
func (p *Pool) Rouse() {
	p.mu.Lock()
	p.rouse()
	p.mu.Unlock()
}

// rouse gets a worker for what is queued, unless one is on its way.
func (p *Pool) rouse() {
	switch {
	case p.waking || p.head == len(p.queue):
	case p.idle > 0:
		p.waking = true
		p.wake.Signal()
	case p.workers < p.limit:
		p.waking = true
		p.workers++
		go p.work()
	}
}

// work is one worker. Close waits for all of them.
func (p *Pool) work() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waking = false
	for {
		for p.head == len(p.queue) {
			if p.closed {
				p.workers--
				p.wake.Broadcast()
				return
			}
			p.idle++
			p.wake.Wait()
			p.idle--
			p.waking = false
		}
		c := p.take()
		p.rouse()
		p.mu.Unlock()
		p.handle(c)
		p.mu.Lock()
		p.busy-- // before rest, which may ask for the next call
		last := p.head == len(p.queue)
		p.mu.Unlock()
		p.rest(1, last) // before anybody learns that there are no calls left
		p.mu.Lock()
		if !c.held {
			p.remove(c)
		}
	}
}

// take takes a call out of the queue, which has one. The lock is held.
func (p *Pool) take() *Call {
	c := p.queue[p.head]
	p.queue[p.head] = nil
	if p.head++; p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
	}
	return c
}

// serve runs what is queued on the leader's goroutine.
func (p *Pool) serve(crew *Crew, self uint64) {
	begin, calls := time.Now(), 0
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.head != len(p.queue) {
		c := p.take()
		p.mu.Unlock()
		c.crew, c.leader = crew, self
		p.handle(c)
		leads := crew.leads(self)
		if leads {
			crew.calls.Add(1)
		}
		calls++
		p.mu.Lock()
		p.busy-- // before rest, which may ask for the next call
		p.done++
		last := p.head == len(p.queue)
		if last && leads {
			p.judge(time.Since(begin), calls)
		}
		if last || !leads {
			p.tell(last)
		}
		if !c.held {
			p.remove(c)
		}
	}
}

// tell has rest told what the leader has done. The lock is held, but not
// meanwhile.
func (p *Pool) tell(last bool) {
	n := p.done
	p.done = 0
	p.mu.Unlock()
	p.rest(n, last)
	p.mu.Lock()
}

// How many calls are the workers' after one that took long: at first, and at
// most after many of them.
const (
	slowLeast = 16
	slowMost  = 4096
)

// shy reports whether the calls are the workers'.
func (p *Pool) shy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slow > 0
}

// leave is for what the leader does not go on with: workers do, and for a while
// have what comes.
func (p *Pool) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shun()
	p.rouse()
	p.tell(true)
}

// shun leaves calls to the workers for a while. The lock is held.
func (p *Pool) shun() {
	p.slower = min(max(2*p.slower, slowLeast), slowMost)
	p.slow = p.slower
}

// judge looks at how long the leader took for some calls. The lock is held.
func (p *Pool) judge(took time.Duration, calls int) {
	if took <= time.Duration(calls)*quick {
		p.slower = 0
	} else {
		p.shun()
	}
}

// Hold keeps a call that is being handled after its handler has returned,
// without a worker and beside the limit, until Release. drop is called when it
// is canceled before. It reports false when it was canceled already.
func (p *Pool) Hold(c *Call, drop func()) bool {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return false
	}
	c.after = drop
	c.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	c.held = true
	return true
}

// Release ends a call that was held.
func (p *Pool) Release(c *Call) {
	c.end(nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(c)
}

func (p *Pool) remove(c *Call) {
	if c.removed { // released before its handler had returned
		return
	}
	c.removed = true
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		p.calls = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	if p.count--; p.count == 0 && p.empty != nil {
		close(p.empty)
		p.empty = nil
	}
}

// Cancel ends the context of one attempt for a cause.
func (p *Pool) Cancel(delivery uint64, attempt uint32, cause error) {
	p.mu.Lock()
	c := p.calls
	for c != nil && (c.Delivery != delivery || c.Attempt != attempt) {
		c = c.next
	}
	p.mu.Unlock()
	if c != nil {
		c.end(cause)
	}
}

// Idle returns a channel that is closed when there are no calls.
func (p *Pool) Idle() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.empty != nil {
		return p.empty
	}
	empty := make(chan struct{})
	if p.count == 0 {
		close(empty)
	} else {
		p.empty = empty
	}
	return empty
}

var errClosed = &wire.Error{Code: wire.Canceled, Reason: wire.ReasonDraining, Message: "the instance ends"}

// Close takes no more calls, ends the contexts of those that are left and
// returns their number. Workers end as their handlers return.
func (p *Pool) Close() int {
	p.mu.Lock()
	p.closed = true
	left := make([]*Call, 0, p.count)
	for c := p.calls; c != nil; c = c.next {
		left = append(left, c)
	}
	p.wake.Broadcast()
	p.mu.Unlock()
	for _, c := range left {
		c.end(errClosed)
	}
	return len(left)
}

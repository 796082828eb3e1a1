package work

import (
	"sync/atomic"
	"time"
)

// Crew are the goroutines that read a lane, one at a time: the leader. It runs
// the handlers of what it has read by itself, since to wake a worker and to let
// it answer costs more than a small handler does. When one takes long, or waits
// for something that must be read, another goroutine leads on, and the pools of
// what takes long use their workers for a while.
type Crew struct {
	next  func() error
	ended chan error
	fed   []*Pool // that got calls of what was read last; the leader's

	// state is the number of the leader, and whether it runs handlers: then, and
	// only then, somebody else may take the lead from it.
	state atomic.Uint64
	since atomic.Int64 // when it began to run handlers, after start
	calls atomic.Int64 // that it has run since
	start time.Time
	watch *time.Timer // looks after the leader while there is something to do
	armed atomic.Bool
	seen  int64 // since, when watch looked last; watch's
	also  func() bool
}

const (
	handling = 1
	leaders  = 2 // the number of a leader is counted in steps of

	// quick is what handlers may take on average for the leader to run them.
	quick = 30 * time.Microsecond
	// tick is how long reading may rest before the leader is looked after.
	tick = time.Millisecond
)

// NewCrew returns a crew. also is called now and then after Watch, until it
// reports false.
func NewCrew(also func() bool) *Crew {
	c := &Crew{also: also, ended: make(chan error, 1), start: time.Now()}
	c.watch = time.AfterFunc(time.Hour, c.look)
	c.watch.Stop()
	return c
}

// Feed notes that a pool got calls. It is called by the goroutine that next
// runs on.
func (c *Crew) Feed(p *Pool) {
	if n := len(c.fed); n == 0 || c.fed[n-1] != p {
		c.fed = append(c.fed, p)
	}
}

// Run calls next and then runs the calls that came with it, until next fails.
// It returns its error and does not wait for handlers.
func (c *Crew) Run(next func() error) error {
	c.next = next
	go c.lead(c.state.Load())
	err := <-c.ended
	c.watch.Stop()
	return err
}

// lead is a goroutine that reads, until it ends or somebody else leads.
func (c *Crew) lead(self uint64) {
	c.fed = nil
	for {
		if err := c.next(); err != nil {
			c.ended <- err
			return
		}
		if len(c.fed) == 0 {
			continue
		}
		fed := c.fed
		c.calls.Store(0)
		c.since.Store(int64(time.Since(c.start)))
		c.state.Store(self | handling)
		c.Watch()
		for _, p := range fed {
			if p.shy() {
				p.Rouse()
				continue
			}
			if p.serve(c, self); !c.leads(self) {
				return
			}
		}
		if !c.state.CompareAndSwap(self|handling, self) {
			return
		}
		clear(fed)
		c.fed = fed[:0]
	}
}

// pass has somebody else lead, if self does and runs handlers.
func (c *Crew) pass(self uint64) {
	if !c.state.CompareAndSwap(self|handling, self+leaders) {
		return
	}
	for _, p := range c.fed {
		p.leave()
	}
	go c.lead(self + leaders)
}

// leads reports whether self leads and runs handlers.
func (c *Crew) leads(self uint64) bool { return c.state.Load() == self|handling }

// Watch has the leader looked after, and also called, within a millisecond or
// two.
func (c *Crew) Watch() {
	if !c.armed.Load() && c.armed.CompareAndSwap(false, true) {
		c.watch.Reset(tick)
	}
}

// look passes the lead on when handlers take long.
func (c *Crew) look() {
	state, since := c.state.Load(), c.since.Load()
	if state&handling != 0 {
		took := time.Since(c.start) - time.Duration(since)
		if took > tick/2 && time.Duration(c.calls.Load())*quick < took {
			c.pass(state &^ handling)
		}
	}
	if c.also() || since != c.seen || state&handling != 0 {
		c.seen = since
		c.watch.Reset(tick)
		return
	}
	c.armed.Store(false)
	if c.state.Load()&handling != 0 || c.also() { // since then
		c.Watch()
	}
}

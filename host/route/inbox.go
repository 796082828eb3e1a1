package route

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/pluginhost/host/host/route/internal/book"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/number"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

// Outlet takes what the router sends to one instance. The calls must not block
// and must not call the router; what d points to is valid during the call. An
// error means that the instance is gone and that its Inbox will be closed, or,
// when it is wire.ErrTooLarge, that this delivery cannot be sent.
type Outlet interface {
	Deliver(d *wire.Deliver) error // Instance is filled in by the router with the handle given to Attach
	Cancel(delivery uint64, attempt uint32, why wire.Cause) error
	Flusher
}

// Attachment says which instance attaches.
type Attachment struct {
	Address    string
	Version    string   // of the plugin
	Generation uint64   // life of the instance
	Handle     uint32   // on its lane
	Actions    []string // names by index
	Outlet     Outlet
}

// What an instance can ask for at most.
const maxCredit, maxInFlight = 1 << 20, 1 << 16

// Inbox is the router's side of an attached instance. Its methods may be
// called from any goroutine and do not block. Deliveries are numbered from 1
// by each inbox, below 1<<40, and keep their number for a later attempt at the
// same inbox.
type Inbox struct {
	r      *Router
	a      Attachment
	target *target

	// Guarded by Router.mu.
	credit   int
	inflight int
	numbers  number.Table[delivery, route]
	stopped  bool // gets nothing new
	broken   bool // its outlet failed
	closed   bool
}

// Attach makes an instance the one that deliveries for its address go to from
// now on. Nothing is delivered before it gives credit. An earlier attachment of
// the same address gets nothing new, and settles what it has until its Inbox is
// closed.
func (r *Router) Attach(a Attachment) *Inbox {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.unlock(now)
	t := r.target(a.Address)
	i := &Inbox{r: r, a: a, target: t}
	r.inboxes[i] = struct{}{}
	if t.inbox != nil {
		t.inbox.stopped = true
	}
	t.inbox, t.gone = i, nil
	for _, rt := range t.routes {
		t.bind(rt)
		r.rejectHopeless(rt, now)
		r.stir(rt)
	}
	return i
}

// open reports whether one more delivery may be handed out.
func (i *Inbox) open() bool {
	return i.credit > 0 && i.inflight < maxInFlight && !i.stopped && !i.broken
}

// Credit allows n more deliveries, up to a million at a time.
func (i *Inbox) Credit(n uint32) {
	b := Batch{r: i.r}
	b.Credit(i, n)
	b.Close()
}

func (i *Inbox) give(n uint32) {
	i.credit = min(i.credit+int(n), maxCredit)
	if !i.target.ring.Empty() && i.target.inbox == i { // something waits for it
		i.r.soil(i.target)
	}
}

// Settle takes the outcome of a delivery, and copies what it keeps of s but
// Err. It returns a *wire.Error with reason already_settled or stale_attempt
// when it is not wanted any more; that is counted and is no fault of the
// connection.
func (i *Inbox) Settle(s *wire.Settle) error {
	now := i.r.clock.Now()
	i.r.mu.Lock()
	defer i.r.unlock(now)
	if err := i.settle(s, now); err != nil {
		return err
	}
	return nil
}

func (i *Inbox) settle(s *wire.Settle, now clock.Instant) *wire.Error {
	r := i.r
	d, rt := i.numbers.Find(s.Ref)
	if d == nil || i.closed || d.state != inFlight || d.attempt != s.Attempt {
		return i.late(s, d, rt)
	}
	switch {
	case s.Err != nil:
		err := i.located(s.Err)
		if err.Code == 0 {
			err.Code = wire.Unknown
		}
		r.retry(d, err, false, now)
	case len(s.Value) > wire.MaxEvent:
		r.fail(d, i.located(reason.ValueTooLarge(len(s.Value))), now)
	default:
		r.finish(d, book.Resolved, s.Value, nil, now)
	}
	return nil
}

// late counts a settle that nobody wants and says why.
func (i *Inbox) late(s *wire.Settle, d *delivery, rt *route) *wire.Error {
	i.r.events.Book.Late++
	if rt != nil {
		rt.book.Late++
	}
	if d == nil && !i.closed && !i.stopped {
		return reason.AlreadySettled(i.a.Address, s.Ref)
	}
	return reason.StaleAttempt(i.a.Address, s.Ref, s.Attempt)
}

// located returns a copy of err that says where it arose.
func (i *Inbox) located(err *wire.Error) *wire.Error {
	e := *err
	e.Details = bytes.Clone(err.Details)
	e.Instance, e.Version = i.a.Address, i.a.Version
	return &e
}

// InFlight returns the number of deliveries handed out and not settled, and
// the credit left.
func (i *Inbox) InFlight() (n, credit int) {
	i.r.mu.Lock()
	defer i.r.mu.Unlock()
	return i.inflight, i.credit
}

// Stop takes the inbox out of use for new deliveries; what is in flight may
// still be settled.
func (i *Inbox) Stop() {
	i.r.mu.Lock()
	i.stop()
	i.r.mu.Unlock()
}

func (i *Inbox) stop() {
	i.stopped = true
	if t := i.target; t.inbox == i {
		t.inbox = nil
		for _, rt := range t.routes {
			t.bind(rt)
		}
	}
	i.r.swept = false
}

// Close ends the inbox: what is in flight is given up for the reason why,
// and retried by its route's policy when that is retryable, at once and before
// what came later. When its Reason is draining that is no failure and costs no
// attempt. A nil why is a crash. Safe to call twice.
func (i *Inbox) Close(why *wire.Error) {
	r := i.r
	now := r.clock.Now()
	r.mu.Lock()
	defer r.unlock(now)
	if i.closed {
		return
	}
	i.closed = true
	i.stop()
	delete(r.inboxes, i)
	if why == nil {
		why = reason.Crashed()
	}
	err := i.located(why)
	given := i.inFlight()
	slices.Reverse(given) // each goes to the front
	for _, d := range given {
		if err.Reason == wire.ReasonDraining {
			d.spared++
			r.again(d, err, 0, now)
		} else {
			r.retry(d, err, true, now)
		}
	}
	for _, d := range i.numbers.All() { // they wait for another attempt, elsewhere
		d.home = nil
	}
	i.numbers = number.Table[delivery, route]{}
}

// inFlight returns what is in flight, in the order in which it was taken.
func (i *Inbox) inFlight() []*delivery {
	all := slices.DeleteFunc(i.numbers.All(), func(d *delivery) bool { return d.state != inFlight })
	slices.SortFunc(all, func(a, b *delivery) int { return cmp.Compare(a.seq, b.seq) })
	return all
}

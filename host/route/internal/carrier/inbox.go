package carrier

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pluginhost/host/host/route/internal/book"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/number"
	"github.com/pluginhost/host/host/route/internal/queue"
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

// Inbox is the router's side of an attached instance. Its methods may be
// called from any goroutine and do not block. Deliveries are numbered from 1
// by each inbox, below 1<<40, and keep their number for a later attempt at the
// same inbox.
type Inbox struct {
	r      *Carrier
	a      Attachment
	target *Target

	Desk    queue.Desk[Inbox] // it and numbers are guarded by Carrier.Mu
	numbers number.Table[Delivery, book.Book]
}

// Address returns the address of the instance.
func (i *Inbox) Address() string { return i.a.Address }

// Handle returns its handle on its lane.
func (i *Inbox) Handle() uint32 { return i.a.Handle }

// Attach makes an instance the one that deliveries for its address go to from
// now on. Nothing is delivered before it gives credit. An earlier attachment of
// the same address gets nothing new, and settles what it has until its Inbox is
// closed.
func (r *Carrier) Attach(a Attachment) *Inbox {
	now := r.Clock.Now()
	r.Mu.Lock()
	defer r.Unlock(now)
	t := r.Target(a.Address)
	i := &Inbox{r: r, a: a, target: t}
	i.Desk = queue.Desk[Inbox]{Of: i, Address: a.Address, Version: a.Version, Actions: a.Actions}
	r.Inboxes[i] = struct{}{}
	if t.Desk != nil {
		t.Desk.Stopped = true
	}
	t.Gone = nil
	t.Seat(&i.Desk)
	for _, rt := range t.Routes {
		r.RejectHopeless(rt, now)
		r.Dirty.Stir(rt)
	}
	return i
}

// Credit allows n more deliveries, up to a million at a time.
func (i *Inbox) Credit(n uint32) {
	r := i.r
	r.Mu.Lock()
	i.Give(n)
	r.Unlock(r.Clock.Now())
}

// Give is Credit under the lock.
func (i *Inbox) Give(n uint32) {
	i.Desk.Give(n)
	if i.target.Desk == &i.Desk {
		i.r.Dirty.Soil(i.target)
	}
}

// Settle takes the outcome of a delivery, and copies what it keeps of s but
// Err. It returns a *wire.Error with reason already_settled or stale_attempt
// when it is not wanted any more, or forged when the instance never had the
// delivery; that is counted and is no fault of the connection.
func (i *Inbox) Settle(s *wire.Settle) error {
	now := i.r.Clock.Now()
	i.r.Mu.Lock()
	defer i.r.Unlock(now)
	if err := i.SettleNow(s, now); err != nil {
		return err
	}
	return nil
}

// SettleNow is Settle under the lock.
func (i *Inbox) SettleNow(s *wire.Settle, now clock.Instant) *wire.Error {
	r := i.r
	d, ledger := i.numbers.Find(s.Ref)
	if d == nil || i.Desk.Closed || d.State != InFlight || d.Attempt != s.Attempt {
		return i.late(s.Ref, s.Attempt, d, ledger)
	}
	err := reason.Located(s.Err, i.a.Address, i.a.Version)
	if err != nil && err.Reason == wire.ReasonDraining && err.Retryable && i.Desk.Stopped {
		// It came when the drain had begun: for its successor, and no failure.
		d.spared++
		r.again(d, err, 0, now)
		return nil
	}
	r.settle(d, s, err, now)
	return nil
}

// late counts a settle that nobody wants and says why.
func (i *Inbox) late(number uint64, attempt uint32, d *Delivery, ledger *book.Book) *wire.Error {
	if !i.Desk.Closed && !i.numbers.Given(number) {
		return i.r.refuse(reason.Forged(i.a.Address, "never had a delivery %d", number))
	}
	i.r.Events.Book.Late++
	if ledger != nil {
		ledger.Late++
	}
	if d == nil && !i.Desk.Closed && !i.Desk.Stopped {
		return i.r.refuse(reason.AlreadySettled(i.a.Address, number))
	}
	return i.r.refuse(reason.StaleAttempt(i.a.Address, number, attempt))
}

// refuse counts a settle that is not taken, by the reason of err.
func (r *Carrier) refuse(err *wire.Error) *wire.Error {
	r.Refused[err.Reason]++
	return err
}

// InFlight returns the number of deliveries handed out and not settled, and
// the credit left.
func (i *Inbox) InFlight() (n, credit int) {
	i.r.Mu.Lock()
	defer i.r.Mu.Unlock()
	return i.Desk.InFlight, i.Desk.Credit
}

// Down waits until at most n deliveries are in flight, and reports whether that
// came before ctx ended. A plugin's answer to Drain overtakes what it has on
// its lane.
func (i *Inbox) Down(ctx context.Context, n int) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if left, _ := i.InFlight(); left <= n {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// Stop takes the inbox out of use for new deliveries; what is in flight may
// still be settled.
func (i *Inbox) Stop() {
	i.r.Mu.Lock()
	i.stop()
	i.r.Mu.Unlock()
}

func (i *Inbox) stop() {
	i.Desk.Stopped = true
	if i.target.Desk == &i.Desk {
		i.target.Seat(nil)
	}
	i.r.Swept = false
}

// Close ends the inbox: what is in flight is given up for the reason why,
// and retried by its route's policy when that is retryable, at once and before
// what came later. When its Reason is draining that is no failure and costs no
// attempt. A nil why is a crash. Safe to call twice.
func (i *Inbox) Close(why *wire.Error) {
	r := i.r
	now := r.Clock.Now()
	r.Mu.Lock()
	defer r.Unlock(now)
	if i.Desk.Closed {
		return
	}
	i.Desk.Closed = true
	i.stop()
	delete(r.Inboxes, i)
	if why == nil {
		why = reason.Crashed()
	}
	err := reason.Located(why, i.a.Address, i.a.Version)
	given := i.Flying()
	slices.Reverse(given) // each goes to the front
	for _, d := range given {
		switch {
		case d.State != InFlight || d.Home != i: // ended with one before, which was its event's too
		case err.Reason == wire.ReasonDraining:
			d.spared++
			r.again(d, err, 0, now)
		default:
			r.retry(d, err, true, now)
		}
	}
	for _, d := range i.numbers.All() { // they wait for another attempt, elsewhere
		d.Home = nil
	}
	i.numbers = number.Table[Delivery, book.Book]{}
}

// Flying returns what is in flight, in the order in which it was taken.
func (i *Inbox) Flying() []*Delivery {
	all := slices.DeleteFunc(i.numbers.All(), func(d *Delivery) bool { return d.State != InFlight })
	slices.SortFunc(all, func(a, b *Delivery) int { return cmp.Compare(a.seq, b.seq) })
	return all
}

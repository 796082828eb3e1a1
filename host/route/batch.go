package route

import (
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/emission"
	"github.com/pluginhost/host/host/route/internal/match"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

// Batch gathers what came in one frame, so that the lock is taken once for all
// of it, the clock is read once and what follows is sent together. Its methods
// are for one goroutine and do not block. What they are given is in the order
// of its coming, and takes effect at Close or, where it is much, before.
type Batch struct {
	r    *Router
	now  clock.Instant // when the first came; zero while it is empty
	acts []act
	one  [1]act
	late []Late
	self Flusher
	from Lender
}

// Lender has the memory in which the data of an emit was read.
type Lender = emission.Lender

// Late is a settle that was not taken.
type Late struct {
	Inbox   *Inbox
	Ref     uint64
	Attempt uint32
	Err     *wire.Error // reason already_settled, stale_attempt or forged
}

// maxActs bounds a batch: a frame of 16 MiB may hold millions of small elements.
const maxActs = 1024

// act is an emit, or what an instance says to its inbox.
type act struct {
	event *event // matched, or nil
	index int    // of its type, or -1-index where there is no such type
	table *match.Table[link]

	inbox  *Inbox
	settle wire.Settle // if its Ref is not 0
	credit uint32
}

// NewBatch returns an empty batch, which is used again after each Close. Whose
// frames it gathers is self, or nil: a Replier that flushes itself soon after
// Close, and is not flushed by it. from lends the data of emits, or is nil: then
// it is copied.
func (r *Router) NewBatch(self Flusher, from Lender) *Batch {
	return &Batch{r: r, self: self, from: from}
}

func (b *Batch) add() *act {
	if len(b.acts) == maxActs {
		b.Close()
	}
	if len(b.acts) == 0 {
		b.now = b.r.c.Clock.Now()
		if cap(b.acts) == 0 {
			b.acts = b.one[:0]
		}
	}
	if n := len(b.acts); n < cap(b.acts) {
		b.acts = b.acts[:n+1] // Close leaves it empty
	} else {
		b.acts = append(b.acts, act{})
	}
	return &b.acts[len(b.acts)-1]
}

// Emit is Router.Emit.
func (b *Batch) Emit(s *Source, e *wire.Emit) {
	a, r := b.add(), b.r
	a.event = r.c.Events.New(s, e.Promise, &e.Event, b.from, b.now)
	a.index = int(e.Type)
	if a.index >= len(s.Events) {
		a.index = -1 - a.index
		return
	}
	a.table = r.look(a.event, a.index)
}

// Settle is Inbox.Settle; Late has its answer. The value is kept until Close,
// not copied.
func (b *Batch) Settle(i *Inbox, s *wire.Settle) {
	a := b.add()
	a.inbox, a.settle = i, *s
}

// Credit is Inbox.Credit.
func (b *Batch) Credit(i *Inbox, n uint32) {
	if n == 0 {
		return
	}
	a := b.add()
	a.inbox, a.credit = i, n
}

// Close gives the router what was gathered.
func (b *Batch) Close() {
	if len(b.acts) == 0 {
		return
	}
	r, now := b.r, b.now
	r.c.Mu.Lock()
	for n := range b.acts {
		switch a := &b.acts[n]; {
		case a.event == nil && a.credit > 0:
			a.inbox.Give(a.credit)
			r.c.Dispatch(now)
		case a.event == nil:
			if err := a.inbox.SettleNow(&a.settle, now); err != nil {
				b.late = append(b.late, Late{a.inbox, a.settle.Ref, a.settle.Attempt, err})
			}
			r.c.Dispatch(now)
		case a.index < 0: // not an event: no ledger knows of it
			s := a.event.Src
			r.c.Events.Reply(s, a.event.Promise, nil, reason.NoSuchEvent(s.Address, uint32(-1-a.index), len(s.Events)))
			r.c.Events.Release(a.event)
		default:
			r.take(a.event, a.index, a.table, now)
		}
	}
	if b.self != nil {
		r.c.Events.Told.Drop(b.self)
	}
	r.c.Unlock(now)
	clear(b.acts)
	b.acts = b.acts[:0]
}

// Late returns the settles that were not taken since it was asked last.
func (b *Batch) Late() []Late {
	late := b.late
	b.late = nil
	return late
}

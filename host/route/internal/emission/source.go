package emission

import (
	"math/rand/v2"
	"slices"

	"github.com/pluginhost/host/sdk/wire"
)

// Replier takes what the router tells the emitter of an event. The calls must
// not block and must not call the router; errors are ignored. What s points to
// is valid during the call, but for Err, which may be kept and not be changed.
type Replier interface {
	Accept(promise uint64) error
	Settle(s *wire.Settle) error
	Flusher
}

// Flusher may keep back what it is told until Flush. That comes soon after,
// without the router's lock and from any goroutine; also more often than needed.
type Flusher interface{ Flush() }

// Told are those who were told something and not flushed since.
type Told struct{ list []Flusher }

// Add adds one. To flush twice costs less than to find out whether it is there.
func (t *Told) Add(f Flusher) {
	for n := len(t.list) - 1; n >= 0 && n >= len(t.list)-4; n-- {
		if t.list[n] == f {
			return
		}
	}
	t.list = append(t.list, f)
}

// Drop takes one out, who is flushed otherwise.
func (t *Told) Drop(f Flusher) {
	t.list = slices.DeleteFunc(t.list, func(x Flusher) bool { return x == f })
}

// Take moves all to the end of into.
func (t *Told) Take(into []Flusher) []Flusher {
	into = append(into, t.list...)
	clear(t.list)
	t.list = t.list[:0]
	return into
}

// Source is an emitter of events. Identity is the source's, never the message's.
// It belongs to one router and is not changed after its first Emit.
type Source[D, C any] struct {
	Address string   // instance address, or "host"
	Events  []string // event names by index
	Replier Replier  // nil: nobody waits

	Cache  C   // the router's
	Parked int // events that wait unaccepted; the router's lock guards it and what follows
	index  []*Event[D, C]
	count  int    // of events in index
	seed   uint64 // spreads promises over index
}

// Add makes a pending event findable by its promise, in a table of chains through
// the events. Whose numbers they are may choose them badly: where one comes is
// not foreseen, and to take one out does not walk its chain.
func (s *Source[D, C]) Add(ev *Event[D, C]) {
	if s.count >= len(s.index) {
		if s.seed == 0 {
			s.seed = rand.Uint64() | 1
		}
		old := s.index
		s.index = make([]*Event[D, C], max(2*len(old), 64))
		for _, e := range old {
			for e != nil {
				next := e.next
				s.link(e)
				e = next
			}
		}
	}
	s.count++
	ev.indexed = true
	s.link(ev)
}

func (s *Source[D, C]) slot(promise uint64) **Event[D, C] {
	return &s.index[promise*s.seed>>32&uint64(len(s.index)-1)]
}

func (s *Source[D, C]) link(ev *Event[D, C]) {
	ev.at = s.slot(ev.Promise)
	if ev.next = *ev.at; ev.next != nil {
		ev.next.at = &ev.next
	}
	*ev.at = ev
}

func (s *Source[D, C]) remove(ev *Event[D, C]) {
	if *ev.at = ev.next; ev.next != nil {
		ev.next.at = ev.at
	}
	ev.next, ev.at, ev.indexed = nil, nil, false
	s.count--
}

// Find returns the pending event of a promise, or nil.
func (s *Source[D, C]) Find(promise uint64) *Event[D, C] {
	if len(s.index) == 0 {
		return nil
	}
	for ev := *s.slot(promise); ev != nil; ev = ev.next {
		if ev.Promise == promise {
			return ev
		}
	}
	return nil
}

package emission

import "github.com/pluginhost/host/sdk/wire"

// Replier takes what the router tells the emitter of an event. The calls must
// not block and must not call the router; errors are ignored. What s points to
// is valid during the call, but for Err, which may be kept and not be changed.
type Replier interface {
	Accept(promise uint64) error
	Settle(s *wire.Settle) error
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
	count  int // of events in index
}

// Add makes a pending event findable by its promise. Numbers mostly ascend, so
// that their low bits spread them over a table of chains through the events.
func (s *Source[D, C]) Add(ev *Event[D, C]) {
	if s.count >= len(s.index) {
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
	return &s.index[promise&uint64(len(s.index)-1)]
}

func (s *Source[D, C]) link(ev *Event[D, C]) {
	head := s.slot(ev.Promise)
	ev.next, *head = *head, ev
}

func (s *Source[D, C]) remove(ev *Event[D, C]) {
	for at := s.slot(ev.Promise); *at != nil; at = &(*at).next {
		if *at == ev {
			*at, ev.next, ev.indexed = ev.next, nil, false
			s.count--
			return
		}
	}
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

// Package hold keeps plans that hold what they reserved, until they are
// applied or their time is over.
package hold

import (
	"sync"
	"time"
)

// most is how many plans are held at once.
const most = 8

// Plan is a plan whose leases are held.
type Plan struct {
	ID      string
	Config  string // fingerprint of what it leads to
	Expires time.Time
	Release func() // gives up the leases
}

// Plans are those that are held.
type Plans struct {
	mu    sync.Mutex
	held  map[string]Plan
	ended bool
}

// Keep holds a plan, or reports that there is no room.
func (s *Plans) Keep(p Plan) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) >= most || s.ended {
		return false
	}
	if s.held == nil {
		s.held = map[string]Plan{}
	}
	s.held[p.ID] = p
	return true
}

// Get returns a plan that is held.
func (s *Plans) Get(id string) (Plan, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.held[id]
	return p, ok
}

// Expire releases the plans whose time is over, and returns when the next is,
// the zero time when there is none.
func (s *Plans) Expire(now time.Time) (next time.Time) {
	s.mu.Lock()
	var over []Plan
	for id, p := range s.held {
		switch {
		case !p.Expires.After(now):
			over = append(over, p)
			delete(s.held, id)
		case next.IsZero() || p.Expires.Before(next):
			next = p.Expires
		}
	}
	s.mu.Unlock()
	for _, p := range over {
		p.Release()
	}
	return next
}

// Clear releases all plans; with end, none is kept any more.
func (s *Plans) Clear(end bool) {
	s.mu.Lock()
	all := s.held
	s.held, s.ended = nil, s.ended || end
	s.mu.Unlock()
	for _, p := range all {
		p.Release()
	}
}

package queue

import (
	"slices"

	"github.com/pluginhost/host/host/route/internal/line"
	"github.com/pluginhost/host/sdk/wire"
)

// Target is an instance address that routes lead to. Instances come and go
// there; what is queued stays.
type Target[D, I any] struct {
	Address  string
	Desk     *Desk[I]       // of the instance that gets what is new, or nil
	Gone     *wire.Error    // why there will be no instance, or nil
	Routes   []*Route[D, I] // live and retired
	Detached int            // deliveries that were detached here

	ring  line.List[Route[D, I]] // those that have something to hand out, by turn
	dirty bool                   // to be looked at
}

func (t *Target[D, I]) adopt(rt *Route[D, I]) {
	rt.turn.Of = rt
	t.Routes = append(t.Routes, rt)
	t.bind(rt)
}

// Seat makes a desk, or none, the one that deliveries go to.
func (t *Target[D, I]) Seat(k *Desk[I]) {
	t.Desk = k
	for _, rt := range t.Routes {
		t.bind(rt)
	}
}

// bind finds a route's action in the attached instance.
func (t *Target[D, I]) bind(rt *Route[D, I]) {
	rt.Action = -1
	if t.Desk != nil {
		rt.Action = slices.Index(t.Desk.Actions, rt.To.Name)
	}
}

// Sweep forgets retired routes that have nothing left to do, and reports
// whether nobody names the target any more.
func (t *Target[D, I]) Sweep() (idle bool) {
	t.Routes = slices.DeleteFunc(t.Routes, func(rt *Route[D, I]) bool {
		if !rt.Retired || slices.ContainsFunc(rt.Family(), (*Route[D, I]).Busy) {
			return false
		}
		rt.bequeath()
		return true
	})
	return len(t.Routes) == 0 && t.Desk == nil
}

// Dirty are the targets that may have something to hand out.
type Dirty[D, I any] struct{ list []*Target[D, I] }

// Stir puts a route that has something to hand out into its target's ring, and
// has the target looked at before the lock is given up.
func (s *Dirty[D, I]) Stir(rt *Route[D, I]) {
	t := rt.Target
	if !rt.active && rt.Runnable() {
		rt.active = true
		t.ring.PushBack(&rt.turn)
	}
	if rt.active {
		s.Soil(t)
	}
}

// Soil has a target looked at, unless nothing waits for it.
func (s *Dirty[D, I]) Soil(t *Target[D, I]) {
	if !t.dirty && !t.ring.Empty() {
		t.dirty = true
		s.list = append(s.list, t)
	}
}

// Len returns how many targets are to be looked at.
func (s *Dirty[D, I]) Len() int { return len(s.list) }

// Next returns a route that has something to hand out, and the desk that takes
// it, route by route in turn; or nil when there is none. It is taken out of its
// ring: Stir puts it back.
func (s *Dirty[D, I]) Next() (*Route[D, I], *Desk[I]) {
	for len(s.list) > 0 {
		t := s.list[len(s.list)-1]
		for !t.ring.Empty() && t.Desk != nil && t.Desk.Open() {
			rt := t.ring.First()
			t.ring.Remove(&rt.turn)
			rt.active = false
			if rt.Runnable() {
				return rt, t.Desk
			}
		}
		s.list = s.list[:len(s.list)-1]
		t.dirty = false
	}
	return nil, nil
}

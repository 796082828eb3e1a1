package route

import (
	"slices"
	"strings"

	"github.com/pluginhost/host/host/observe"
)

// Counts returns the ledger of events, and the state of each route: those in
// force in config order, then those that still have work from earlier
// generations, marked (old). A route's dead letters have a line of their own
// once there was one. An event counts as accepted when it is, or when it is
// settled without having been.
func (r *Router) Counts() (observe.Counts, []observe.Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	routes := make([]observe.Route, 0, len(r.live))
	for _, rt := range r.live {
		routes = append(routes, rt.state())
		if l := rt.letters; l != nil && l.book.Accepted > 0 {
			routes = append(routes, l.state())
		}
	}
	live := len(routes)
	for _, t := range r.targets {
		for _, rt := range t.routes {
			if rt.retired && rt.busy() {
				routes = append(routes, rt.state())
			}
		}
	}
	slices.SortFunc(routes[live:], func(a, b observe.Route) int { return strings.Compare(a.Name, b.Name) })
	return r.events.Book.Counts, routes
}

func (rt *route) state() observe.Route {
	s := observe.Route{Name: rt.name, From: rt.from, To: rt.to.Instance + "." + rt.to.Name,
		Queued: rt.waiting.Len(), InFlight: rt.inflight, Counts: rt.book.Counts}
	if rt.retired {
		s.Name += " (old)"
	}
	return s
}

// Queued returns how many deliveries wait for the instance at address, those
// that a full queue keeps out included; what is in flight does not count.
func (r *Router) Queued(address string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	if t := r.targets[address]; t != nil {
		for _, rt := range t.routes {
			n += rt.waiting.Len() + rt.parked.Len()
		}
	}
	return n
}

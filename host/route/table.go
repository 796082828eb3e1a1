package route

import (
	"slices"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/route/internal/match"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

// Swap makes routes the ones in force, at once for all events emitted from now
// on. Routes whose Text is unchanged keep their queue and counts; what waits
// in a removed or changed route is still delivered under the old policy, to
// the instance that is attached at its address then.
func (r *Router) Swap(routes []config.Route) {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.unlock(now)
	known := map[string]*route{}
	for _, t := range r.targets {
		for _, rt := range t.routes {
			if rt.owner == nil {
				known[rt.id] = rt
			}
			rt.retired = true
		}
	}
	r.live = nil
	r.table.Store(match.NewTable(routes, func(n int) *route {
		c := &routes[n]
		id := c.Name + "\x00" + c.Text
		rt := known[id]
		if rt == nil {
			rt = r.newRoute(c)
			known[id] = rt
		}
		for _, in := range rt.family() {
			in.retired = false
		}
		r.live = append(r.live, rt)
		return rt
	}))
	for _, t := range r.targets {
		for _, rt := range t.routes {
			r.rejectHopeless(rt, now)
		}
	}
	r.swept = false
}

// sweep forgets retired routes that have nothing left to do, and targets that
// nobody names.
func (r *Router) sweep() {
	r.swept = true
	for address, t := range r.targets {
		t.routes = slices.DeleteFunc(t.routes, func(rt *route) bool {
			return rt.retired && !slices.ContainsFunc(rt.family(), (*route).busy)
		})
		if len(t.routes) == 0 && t.inbox == nil {
			delete(r.targets, address)
		}
	}
}

// Forget says that the instance at address is gone for good: what waits for it
// is rejected as Unavailable for the reason why, and so is what comes later,
// until an instance attaches there again. What is in flight may still be settled.
func (r *Router) Forget(address string, why *wire.Error) {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.unlock(now)
	t := r.targets[address]
	if t == nil {
		return
	}
	t.gone = reason.Gone(address)
	if why != nil {
		*t.gone = *why
		t.gone.Instance = address
	}
	for _, rt := range t.routes {
		r.rejectHopeless(rt, now)
	}
	r.swept = false
}

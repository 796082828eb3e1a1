package route

import (
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/route/internal/match"
	"github.com/pluginhost/host/host/route/internal/queue"
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
		for _, rt := range t.Routes {
			if rt.Owner == nil {
				known[rt.ID] = rt
			}
			rt.Retired = true
		}
	}
	r.live = nil
	r.table.Store(match.NewTable(routes, func(n int) link {
		c := &routes[n]
		id := queue.ID(c)
		rt := known[id]
		if rt == nil {
			rt = queue.NewRoute(c, r.target)
			known[id] = rt
		}
		for _, in := range rt.Family() {
			in.Retired = false
		}
		r.live = append(r.live, rt)
		return link{rt}
	}))
	for _, t := range r.targets {
		for _, rt := range t.Routes {
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
		if t.Sweep() {
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
	t.Gone = reason.Gone(address)
	if why != nil {
		*t.Gone = *why
		t.Gone.Instance = address
	}
	for _, rt := range t.Routes {
		r.rejectHopeless(rt, now)
	}
	r.swept = false
}

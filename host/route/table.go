package route

import (
	"slices"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/route/internal/match"
	"github.com/pluginhost/host/host/route/internal/queue"
)

// Swap makes routes the ones in force, at once for all events emitted from now
// on. Routes whose Text is unchanged keep their queue and counts; what waits
// in a removed or changed route is still delivered under the old policy, to
// the instance that is attached at its address then. What has ended in a changed
// route counts in the one that has its name. A route that is ordered by
// subject keeps the order of its subjects across the change: what has its name
// follows it.
func (r *Router) Swap(routes []config.Route) {
	now := r.c.Clock.Now()
	r.c.Mu.Lock()
	defer r.c.Unlock(now)
	known, before := map[string]*route{}, map[string]*route{}
	for _, t := range r.c.Targets {
		for _, rt := range t.Routes {
			if rt.Owner == nil {
				known[rt.ID] = rt
				if rt.Waiting.Ordered() {
					before[rt.Name] = rt
				}
			}
			rt.Retired = true
		}
	}
	old := r.live
	r.live = nil
	r.table.Store(match.NewTable(routes, func(n int) link {
		c := &routes[n]
		id := queue.ID(c)
		rt := known[id]
		if rt == nil {
			rt = queue.NewRoute(c, r.c.Target)
			known[id] = rt
			if old := before[rt.Name]; old != nil && rt.Waiting.Ordered() {
				rt.Waiting.Follow(&old.Waiting)
			}
		}
		for _, in := range rt.Family() {
			in.Retired = false
		}
		rt.Leave(nil)
		r.live = append(r.live, rt)
		return link{Route: rt}
	}))
	old = slices.DeleteFunc(old, func(rt *route) bool { return !rt.Retired })
	if len(old) > 0 {
		heirs := make(map[string]*route, len(r.live))
		for _, rt := range r.live {
			heirs[rt.Name] = rt
		}
		for _, rt := range old {
			rt.Leave(heirs[rt.Name])
		}
	}
	for _, t := range r.c.Targets {
		for _, rt := range t.Routes {
			r.c.RejectHopeless(rt, now)
			r.c.Admit(rt, now)
		}
	}
	r.c.Swept = false
}

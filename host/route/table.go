package route

import (
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/sdk/wire"
)

// table says which routes an event asks. It is immutable.
type table struct {
	entries map[key][]entry // in config order
}

type key struct{ address, event string }

// entry is a route as one generation wrote it. Expressions are here and not in
// the route, because a kept route gets those of the new generation, which may
// see other variables.
type entry struct {
	route *route
	when  *config.Expr
	input *config.Expr
}

// Swap makes routes the ones in force, at once for all events emitted from now
// on. Routes whose Text is unchanged keep their queue and counts; what waits
// in a removed or changed route is still delivered under the old policy, to
// the instance that is attached at its address then.
func (r *Router) Swap(routes []config.Route) {
	now := r.now()
	r.mu.Lock()
	defer r.unlock(now)
	known := map[string]*route{}
	for _, rt := range append(r.retired[:len(r.retired):len(r.retired)], r.live...) {
		if rt.owner == nil {
			known[rt.name+"\x00"+rt.text] = rt
		}
	}
	old := r.live
	r.live = nil
	t := &table{entries: map[key][]entry{}}
	for n := range routes {
		c := &routes[n]
		id := c.Name + "\x00" + c.Text
		rt := known[id]
		if rt == nil {
			rt = r.newRoute(c)
			known[id] = rt
		}
		rt.retired = false
		r.live = append(r.live, rt)
		for _, from := range c.From {
			k := key{from.Instance, from.Name}
			if list := t.entries[k]; len(list) == 0 || list[len(list)-1].route != rt { // once, though named twice
				t.entries[k] = append(list, entry{rt, c.When, c.Input})
			}
		}
	}
	r.table.Store(t)
	r.retire(old, now)
	r.swept = false
}

// retire takes routes that are not live any more out of use.
func (r *Router) retire(old []*route, now instant) {
	live := map[*route]bool{}
	for _, rt := range r.live {
		live[rt] = true
	}
	var retired []*route
	for _, rt := range append(r.retired, old...) {
		owner := rt
		if rt.owner != nil {
			owner = rt.owner
		}
		if live[owner] {
			continue
		}
		live[owner] = true // listed once
		owner.retired = true
		retired = append(retired, owner)
		if owner.letters != nil {
			owner.letters.retired = true
			retired = append(retired, owner.letters)
		}
	}
	for _, rt := range r.live {
		if rt.letters != nil {
			rt.letters.retired = false
		}
	}
	r.retired = retired
	for _, rt := range retired {
		r.rejectHopeless(rt, now)
	}
}

// sweep forgets retired routes that have nothing left to do, and targets that
// nobody names.
func (r *Router) sweep() {
	r.swept = true
	kept := r.retired[:0]
	for _, rt := range r.retired {
		if rt.busy() || rt.letters != nil && rt.letters.busy() || rt.owner != nil && (rt.owner.busy() || !rt.owner.retired) {
			kept = append(kept, rt)
			continue
		}
		rt.target.drop(rt)
	}
	clear(r.retired[len(kept):])
	r.retired = kept
	for address, t := range r.targets {
		if len(t.routes) == 0 && t.inbox == nil {
			delete(r.targets, address)
		}
	}
}

// Forget says that the instance at address is gone for good: what waits for it
// is rejected as Unavailable for the given reason, and so is what comes later,
// until an instance attaches there again. What is in flight may still be settled.
func (r *Router) Forget(address string, reason *wire.Error) {
	now := r.now()
	r.mu.Lock()
	defer r.unlock(now)
	t := r.targets[address]
	if t == nil {
		return
	}
	t.gone = &wire.Error{Code: wire.Unavailable, Message: "the instance is gone"}
	if reason != nil {
		*t.gone = *reason
	}
	if t.gone.Instance == "" {
		t.gone.Instance = address
	}
	for _, rt := range t.routes {
		r.rejectHopeless(rt, now)
	}
	r.swept = false
}

package route

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/carrier"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

// Counts returns the ledger of events, and the state of each route: those in
// force in config order, then those that still have work from earlier
// generations, marked (old). A route's dead letters have a line of their own
// once there was one. An event counts as accepted when it is, or when it is
// settled without having been.
func (r *Router) Counts() (observe.Counts, []observe.Route) {
	r.c.Mu.Lock()
	defer r.c.Mu.Unlock()
	routes := make([]observe.Route, 0, len(r.live))
	for _, rt := range r.live {
		routes = append(routes, rt.State())
		if l := rt.Letters; l != nil && l.Book.Accepted > 0 {
			routes = append(routes, l.State())
		}
	}
	live := len(routes)
	for _, t := range r.c.Targets {
		for _, rt := range t.Routes {
			if rt.Retired && rt.Busy() {
				routes = append(routes, rt.State())
			}
		}
	}
	slices.SortFunc(routes[live:], func(a, b observe.Route) int { return strings.Compare(a.Name, b.Name) })
	return r.c.Events.Book.Counts, routes
}

// Queued returns how many deliveries wait for the instance at address, those
// that a full queue keeps out included; what is in flight does not count.
func (r *Router) Queued(address string) int {
	r.c.Mu.Lock()
	defer r.c.Mu.Unlock()
	n := 0
	if t := r.c.Targets[address]; t != nil {
		for _, rt := range t.Routes {
			n += rt.Waiting.Len() + rt.Parked.Len()
		}
	}
	return n
}

// Reasons says why events were rejected.
func (r *Router) Reasons() []observe.Reason {
	r.c.Mu.Lock()
	defer r.c.Mu.Unlock()
	return r.c.Events.Book.Reasons()
}

// Refused says how many settles were not taken, by reason: stale_attempt,
// already_settled, unknown_token or forged.
func (r *Router) Refused() map[string]uint64 {
	r.c.Mu.Lock()
	defer r.c.Mu.Unlock()
	return maps.Clone(r.c.Refused)
}

// Blocked says for what the emits of each source wait that must wait.
func (r *Router) Blocked() map[string]string {
	r.c.Mu.Lock()
	defer r.c.Mu.Unlock()
	blocked := map[string]string{}
	for _, t := range r.c.Targets {
		for _, rt := range t.Routes {
			why := rt.Full()
			for n := rt.Parked.Head(); n != nil; n = n.Next() {
				blocked[n.Of.Ev.Src.Address] = why
			}
		}
	}
	return blocked
}

// Waiting lists the deliveries that are not finished, of the events that
// match, oldest first, and says for what each waits.
func (r *Router) Waiting(match func(*wire.Event) bool) []observe.Waiting {
	now := r.c.Clock.Now()
	r.c.Mu.Lock()
	defer r.c.Mu.Unlock()
	var all []observe.Waiting
	add := func(d *delivery) {
		if ev := d.Ev; match(&ev.Event) {
			all = append(all, observe.Waiting{Event: ev.ID, Type: ev.Type, Subject: ev.Subject, Route: d.Route.Name,
				Instance: d.Route.Target.Address, State: stateNames[d.State], Attempt: d.Attempt, Elapsed: now.Since(ev.Born), Why: why(d, now)})
		}
	}
	for _, t := range r.c.Targets {
		for _, rt := range t.Routes {
			for n := rt.Parked.Head(); n != nil; n = n.Next() {
				add(n.Of)
			}
			for n := rt.Waiting.Head(); n != nil; n = n.Next() {
				add(n.Of)
			}
		}
	}
	for i := range r.c.Inboxes {
		for _, d := range i.Flying() {
			add(d)
		}
	}
	for _, d := range r.c.Tokens.All() {
		add(d)
	}
	slices.SortStableFunc(all, func(a, b observe.Waiting) int { return cmp.Compare(b.Elapsed, a.Elapsed) })
	return all
}

var stateNames = [...]string{carrier.Parked: "unaccepted", carrier.Queued: "queued", carrier.InFlight: "in_flight", carrier.Detached: "detached"}

// why says for what a delivery waits.
func why(d *delivery, now clock.Instant) string {
	rt := d.Route
	at, attempts := rt.Target.Address, d.Allowed()
	switch {
	case d.State == carrier.Parked:
		return rt.Full()
	case d.State == carrier.InFlight:
		return reason.WaitsForAnswer(at, rt.To.Name, now.Since(d.Sent), d.Attempt, attempts)
	case d.State == carrier.Detached:
		return reason.WaitsForToken(at, now.Since(d.Sent), -now.Since(d.Due))
	case d.Held():
		return reason.WaitsForSubject(d.Ev.Subject, rt.Name)
	case d.Resting():
		return reason.WaitsForAttempt(d.Attempt+1, attempts, -now.Since(d.Alarm.Due))
	}
	return reason.WaitsInLine(rt.Name, rt.Stuck())
}

package route

import (
	"errors"
	"fmt"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/carrier"
)

// check walks everything that the router holds and compares it with the books.
func (r *Router) check() error {
	r.c.Mu.Lock()
	defer r.c.Mu.Unlock()
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	balance := func(what string, c observe.Counts, reasons []observe.Reason) {
		told := uint64(0)
		for _, x := range reasons {
			told += x.Count
		}
		if told != c.Rejected+c.Dead+c.Dropped {
			fault("%s: %d ended without success, %d have a reason", what, c.Rejected+c.Dead+c.Dropped, told)
		}
		if c.Accepted != c.Resolved+c.Rejected+c.Pending+c.Dead+c.Dropped {
			fault("%s: the ledger does not balance: %+v", what, c)
		}
	}
	balance("events", r.c.Events.Book.Counts, r.c.Events.Book.Reasons())
	if r.c.Dirty.Len() > 0 || len(r.c.Later) > 0 {
		fault("%d targets and %d calls were left undone", r.c.Dirty.Len(), len(r.c.Later))
	}

	open, alarms := 0, 0
	count := func(d *delivery) {
		if d.Alarm.Set() {
			alarms++
		}
	}
	events := map[*event]int{}
	fly, apart := map[*route]int{}, map[*route]int{}
	for _, t := range r.c.Targets {
		if t.Desk != nil && (t.Desk.Closed || t.Desk.Stopped) {
			fault("%s: its inbox is stopped", t.Address)
		}
		for _, rt := range t.Routes {
			balance(rt.Name, rt.Book.Counts, rt.Book.Reasons())
			waiting := 0
			for n := rt.Waiting.Head(); n != nil; n = n.Next() {
				waiting++
				count(n.Of)
				events[n.Of.Ev]++
				if n.Of.State != carrier.Queued || n.Of.Route != rt {
					fault("%s: a delivery in state %d waits", rt.Name, n.Of.State)
				}
				if n.Of.Ev.Until != 0 && !n.Of.Alarm.Set() {
					fault("%s: a waiting delivery has forgotten its deadline", rt.Name)
				}
			}
			if waiting != rt.Waiting.Len() {
				fault("%s: %d wait, %d counted", rt.Name, waiting, rt.Waiting.Len())
			}
			parkedHere := 0
			for n := rt.Parked.Head(); n != nil; n = n.Next() {
				parkedHere++
				count(n.Of)
				events[n.Of.Ev]++
				if n.Of.State != carrier.Parked {
					fault("%s: a delivery in state %d is parked", rt.Name, n.Of.State)
				}
			}
			if parkedHere > 0 && waiting < max(rt.Policy.Queue, 1) {
				fault("%s: %d are parked although there is room", rt.Name, parkedHere)
			}
			if rt.Book.Pending != uint64(waiting+rt.InFlight+rt.Detached) {
				fault("%s: %d pending, but %d queued, %d in flight and %d detached", rt.Name, rt.Book.Pending, waiting, rt.InFlight, rt.Detached)
			}
			if t.Desk != nil && t.Desk.Open() && rt.Runnable() {
				fault("%s: something is ready and there is credit", rt.Name)
			}
			open += waiting + parkedHere + rt.InFlight + rt.Detached
			apart[rt] = rt.Detached
			fly[rt] = rt.InFlight
		}
	}
	for i := range r.c.Inboxes {
		inflight := i.Flying()
		if len(inflight) != i.Desk.InFlight {
			fault("%s: %d in flight, %d counted", i.Address(), len(inflight), i.Desk.InFlight)
		}
		for _, d := range inflight {
			fly[d.Route]--
			count(d)
			events[d.Ev]++
			if d.Home != i || (d.Alarm.Set() || d.OnRoute) != (d.Due != 0) {
				fault("%s: a delivery in flight is at %p, due at %d, and nothing waits for that", i.Address(), d.Home, d.Due)
			}
		}
	}
	for _, d := range r.c.Tokens.All() {
		apart[d.Route]--
		count(d)
		events[d.Ev]++
		if d.State != carrier.Detached || d.Home != nil || d.Token == "" || !d.Alarm.Set() {
			fault("%s: a detached delivery in state %d is at %p with token %q", d.Route.Name, d.State, d.Home, d.Token)
		}
	}
	for rt, n := range apart {
		if n != 0 {
			fault("%s: %d detached have no token", rt.Name, n)
		}
	}
	for rt, n := range fly {
		if n != 0 {
			fault("%s: %d in flight are at no inbox", rt.Name, n)
		}
	}
	if open != r.c.Open {
		fault("%d deliveries are open, %d counted", open, r.c.Open)
	}
	if r.c.Alarms.Len() != alarms {
		fault("%d alarms are set, %d of them of what is open", r.c.Alarms.Len(), alarms)
	}
	pending, parkedEvents := 0, map[*Source]int{}
	for ev, n := range events {
		if ev.Open != n {
			fault("event %s: %d deliveries open, %d counted", ev.ID, n, ev.Open)
		}
		if !ev.Settled && ev.Accepted && !ev.Letter {
			pending++
		}
		if ev.Waited && !ev.Accepted {
			parkedEvents[ev.Src]++
		}
	}
	if uint64(pending) != r.c.Events.Book.Pending {
		fault("%d events are pending, %d counted", pending, r.c.Events.Book.Pending)
	}
	for s, n := range parkedEvents {
		if s.Parked != n {
			fault("source %s: %d events parked, %d counted", s.Address, n, s.Parked)
		}
	}
	return errors.Join(errs...)
}

package route

import (
	"errors"
	"fmt"

	"github.com/pluginhost/host/host/observe"
)

// check walks everything that the router holds and compares it with the books.
func (r *Router) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	balance := func(what string, c observe.Counts) {
		if c.Accepted != c.Resolved+c.Rejected+c.Pending+c.Dead+c.Dropped {
			fault("%s: the ledger does not balance: %+v", what, c)
		}
	}
	balance("events", r.counts)
	if len(r.dirty) > 0 || len(r.later) > 0 {
		fault("%d targets and %d calls were left undone", len(r.dirty), len(r.later))
	}

	open := 0
	inTimers := map[*delivery]bool{}
	for n, d := range r.timers {
		if d.timer != n+1 {
			fault("a timer at %d thinks it is at %d", n+1, d.timer)
		}
		if d.state == idle {
			fault("a finished delivery has a timer")
		}
		inTimers[d] = true
	}
	events := map[*event]int{}
	fly := map[*route]int{}
	for _, t := range r.targets {
		if t.inbox != nil && (t.inbox.closed || t.inbox.stopped) {
			fault("%s: its inbox is stopped", t.address)
		}
		for _, rt := range t.routes {
			balance(rt.name, rt.counts)
			waiting, lined := 0, 0
			for n := rt.waiting.head; n != nil; n = n.next {
				waiting++
				events[n.d.ev]++
				if !n.d.state.waits() || n.d.route != rt {
					fault("%s: a delivery in state %d waits", rt.name, n.d.state)
				}
				if n.d.state == backoff {
					lined++
				}
				if n.d.ev.deadline != 0 && n.d.timer == 0 {
					fault("%s: a waiting delivery has forgotten its deadline", rt.name)
				}
			}
			for n := rt.ready.head; n != nil; n = n.next {
				lined++
				if n.d.state != ready {
					fault("%s: a delivery in state %d is ready", rt.name, n.d.state)
				}
			}
			for name, s := range rt.subjects {
				if s.first.state == idle || s.first.state == held || s.first.ev.Subject != name {
					fault("%s: subject %s is led by a delivery in state %d", rt.name, name, s.first.state)
				}
				for n := s.held.head; n != nil; n = n.next {
					lined++
					if n.d.state != held {
						fault("%s: a delivery in state %d is held", rt.name, n.d.state)
					}
				}
			}
			parkedHere := 0
			for n := rt.parked.head; n != nil; n = n.next {
				parkedHere++
				events[n.d.ev]++
				if n.d.state != parked {
					fault("%s: a delivery in state %d is parked", rt.name, n.d.state)
				}
			}
			if parkedHere > 0 && rt.queued < max(rt.policy.Queue, 1) {
				fault("%s: %d are parked although there is room", rt.name, parkedHere)
			}
			if waiting != rt.queued || lined != rt.queued {
				fault("%s: %d wait, %d stand in a line, %d are counted", rt.name, waiting, lined, rt.queued)
			}
			if rt.counts.Pending != uint64(rt.queued+rt.inflight) {
				fault("%s: %d pending, but %d queued and %d in flight", rt.name, rt.counts.Pending, rt.queued, rt.inflight)
			}
			if t.inbox != nil && t.inbox.open() && rt.runnable() {
				fault("%s: something is ready and there is credit", rt.name)
			}
			open += waiting + parkedHere + rt.inflight
			fly[rt] = rt.inflight
		}
	}
	for i := range r.inboxes {
		inflight := i.inFlight()
		if len(inflight) != i.inflight {
			fault("%s: %d in flight, %d counted", i.a.Address, len(inflight), i.inflight)
		}
		for _, d := range inflight {
			fly[d.route]--
			events[d.ev]++
			if d.home != i || (d.timer == 0) != (d.due == 0) {
				fault("%s: a delivery in flight has home %p and timer %d", i.a.Address, d.home, d.timer)
			}
		}
	}
	for rt, n := range fly {
		if n != 0 {
			fault("%s: %d in flight are at no inbox", rt.name, n)
		}
	}
	if open != r.open {
		fault("%d deliveries are open, %d counted", open, r.open)
	}
	for d := range inTimers {
		if events[d.ev] == 0 {
			fault("a timer is of an event that is nowhere")
		}
	}
	pending, parkedEvents := 0, map[*Source]int{}
	for ev, n := range events {
		if ev.open != n {
			fault("event %s: %d deliveries open, %d counted", ev.ID, n, ev.open)
		}
		if !ev.settled && ev.accepted && !ev.letter {
			pending++
		}
		if ev.waited && !ev.accepted {
			parkedEvents[ev.src]++
		}
	}
	if uint64(pending) != r.counts.Pending {
		fault("%d events are pending, %d counted", pending, r.counts.Pending)
	}
	for s, n := range parkedEvents {
		if s.parked != n {
			fault("source %s: %d events parked, %d counted", s.Address, n, s.parked)
		}
	}
	return errors.Join(errs...)
}

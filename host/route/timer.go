package route

import "time"

// Deliveries wait for one moment at a time: the end of their attempt, of
// their backoff, or the event's deadline. Ends of attempts come in the order of
// handing out, since a route has one timeout: a list per route holds them at no
// cost. The others are few and in a heap. Run has one timer for the earliest.

// batch is how many deliveries one hold of the lock may wake.
const batch = 256

// arm sets the alarm of a delivery to a moment, 0 for none.
func (r *Router) arm(d *delivery, due int64) {
	r.alarms.Remove(&d.alarm)
	if due == 0 || d.state == idle {
		return
	}
	d.alarm.Due = due
	r.alarms.Push(&d.alarm)
	r.before(due)
}

// before makes Run look again at due at the latest.
func (r *Router) before(due int64) {
	if r.next != 0 && r.next <= due {
		return
	}
	r.next = due
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// tick wakes what is due and returns how long Run sleeps, or false for ever.
func (r *Router) tick() (time.Duration, bool) {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.unlock(now)
	left := batch
	for a := r.alarms.First(); left > 0 && a != nil && a.Due <= now.Mono; a = r.alarms.First() {
		left--
		r.alarms.Remove(a)
		switch d := a.Of; {
		case d.state == inFlight || d.state == detached:
			r.timeout(d, now)
		case d.Resting():
			d.route.Waiting.Wake(&d.Waiter)
			r.arm(d, d.ev.Until)
			r.dirty.Stir(d.route)
		default:
			r.expire(d, now)
		}
	}
	next := int64(0)
	for _, t := range r.targets {
		for _, rt := range t.Routes {
			d := rt.Flight.First()
			for ; left > 0 && d != nil && d.due <= now.Mono; d = rt.Flight.First() {
				left--
				r.timeout(d, now)
			}
			if d != nil && (next == 0 || d.due < next) {
				next = d.due
			}
		}
	}
	if a := r.alarms.First(); a != nil && (next == 0 || a.Due < next) {
		next = a.Due
	}
	r.next = next
	if next == 0 {
		return 0, false
	}
	return max(time.Duration(next-now.Mono), 0), true
}

package carrier

import "time"

// Deliveries wait for one moment at a time: the end of their attempt, of
// their backoff, or the event's deadline. Ends of attempts come in the order of
// handing out, since a route has one timeout: a list per route holds them at no
// cost. The others are few and in a heap. Run has one timer for the earliest.

// batch is how many deliveries one hold of the lock may wake.
const batch = 256

// Arm sets the alarm of a delivery to a moment, 0 for none.
func (r *Carrier) Arm(d *Delivery, due int64) {
	r.Alarms.Remove(&d.Alarm)
	if due == 0 || d.State == Idle {
		return
	}
	d.Alarm.Due = due
	r.Alarms.Push(&d.Alarm)
	r.before(due)
}

// before makes Run look again at due at the latest.
func (r *Carrier) before(due int64) {
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
func (r *Carrier) tick() (time.Duration, bool) {
	now := r.Clock.Now()
	r.Mu.Lock()
	defer r.Unlock(now)
	left := batch
	for a := r.Alarms.First(); left > 0 && a != nil && a.Due <= now.Mono; a = r.Alarms.First() {
		left--
		r.Alarms.Remove(a)
		switch d := a.Of; {
		case d.State == InFlight || d.State == Detached:
			r.timeout(d, now)
		case d.Resting():
			d.Route.Waiting.Wake(&d.Waiter)
			r.Arm(d, d.Ev.Until)
			r.Dirty.Stir(d.Route)
		default:
			r.expire(d, now)
		}
	}
	next := int64(0)
	for _, t := range r.Targets {
		for _, rt := range t.Routes {
			d := rt.Flight.First()
			for ; left > 0 && d != nil && d.Due <= now.Mono; d = rt.Flight.First() {
				left--
				r.timeout(d, now)
			}
			if d != nil && (next == 0 || d.Due < next) {
				next = d.Due
			}
		}
	}
	if a := r.Alarms.First(); a != nil && (next == 0 || a.Due < next) {
		next = a.Due
	}
	r.next = next
	if next == 0 {
		return 0, false
	}
	return max(time.Duration(next-now.Mono), 0), true
}

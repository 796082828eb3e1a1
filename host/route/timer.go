package route

import "time"

// Deliveries wait for one moment at a time: the end of their attempt, of
// their backoff, or the event's deadline. Ends of attempts come in the order of
// handing out, since a route has one timeout: a list per route holds them at no
// cost. The others are few and in a heap. Run has one timer for the earliest.

// onRoute as delivery.timer says that its moment is in route.flight.
const onRoute = -1

// batch is how many deliveries one hold of the lock may wake.
const batch = 256

// heap is a binary min-heap of deliveries by due, each of which knows its place.
type heap []*delivery

// arm sets the timer of a delivery to a moment, 0 for none.
func (r *Router) arm(d *delivery, due int64) {
	if d.timer > 0 {
		r.disarm(d)
	}
	if due == 0 || d.state == idle {
		return
	}
	d.due = due
	r.timers = append(r.timers, d)
	d.timer = len(r.timers)
	r.timers.up(d.timer - 1)
	r.before(due)
}

func (r *Router) disarm(d *delivery) {
	if d.timer <= 0 {
		return
	}
	h := r.timers
	n, last := d.timer-1, len(h)-1
	d.timer = 0
	moved := h[last]
	h[last] = nil
	r.timers = h[:last]
	if n == last {
		return
	}
	h[n] = moved
	moved.timer = n + 1
	r.timers.down(n)
	r.timers.up(n)
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

func (h heap) up(n int) {
	for n > 0 {
		p := (n - 1) / 2
		if h[p].due <= h[n].due {
			return
		}
		h.swap(p, n)
		n = p
	}
}

func (h heap) down(n int) {
	for {
		c := 2*n + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1].due < h[c].due {
			c++
		}
		if h[n].due <= h[c].due {
			return
		}
		h.swap(n, c)
		n = c
	}
}

func (h heap) swap(a, b int) {
	h[a], h[b] = h[b], h[a]
	h[a].timer, h[b].timer = a+1, b+1
}

// tick wakes what is due and returns how long Run sleeps, or false for ever.
func (r *Router) tick() (time.Duration, bool) {
	now := r.now()
	r.mu.Lock()
	defer r.unlock(now)
	left := batch
	for ; left > 0 && len(r.timers) > 0 && r.timers[0].due <= now.mono; left-- {
		d := r.timers[0]
		r.disarm(d)
		switch d.state {
		case inFlight:
			r.timeout(d, now)
		case backoff:
			r.setReady(d, true)
			r.arm(d, d.ev.deadline)
		default:
			r.expire(d, now)
		}
	}
	next := int64(0)
	if len(r.timers) > 0 {
		next = r.timers[0].due
	}
	for _, t := range r.targets {
		for _, rt := range t.routes {
			for ; left > 0 && rt.flight.head != nil && rt.flight.head.d.due <= now.mono; left-- {
				r.timeout(rt.flight.head.d, now)
			}
			if n := rt.flight.head; n != nil && (next == 0 || n.d.due < next) {
				next = n.d.due
			}
		}
	}
	if len(r.timers) > 0 && (next == 0 || r.timers[0].due < next) { // timeouts became backoffs
		next = r.timers[0].due
	}
	r.next = next
	if next == 0 {
		return 0, false
	}
	return max(time.Duration(next-now.mono), 0), true
}

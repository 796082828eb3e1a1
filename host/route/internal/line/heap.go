package line

// Alarm is a moment to wait for, a part of what waits. It knows its place in
// the heap, so that it can be taken out.
type Alarm[T any] struct {
	Of  *T    // what waits
	Due int64 // any clock
	at  int   // place in the heap, from 1; 0 when in none
}

// Set reports whether the alarm is in a heap.
func (a *Alarm[T]) Set() bool { return a.at > 0 }

// Heap is a binary min-heap of alarms by Due. The zero Heap is empty.
type Heap[T any] struct{ h []*Alarm[T] }

// Len returns the number of alarms.
func (h *Heap[T]) Len() int { return len(h.h) }

// First returns the earliest alarm, or nil.
func (h *Heap[T]) First() *Alarm[T] {
	if len(h.h) == 0 {
		return nil
	}
	return h.h[0]
}

// Push puts an alarm into the heap that is in none.
func (h *Heap[T]) Push(a *Alarm[T]) {
	h.h = append(h.h, a)
	a.at = len(h.h)
	h.up(a.at - 1)
}

// Remove takes an alarm out, if it is in.
func (h *Heap[T]) Remove(a *Alarm[T]) {
	if a.at == 0 {
		return
	}
	n, last := a.at-1, len(h.h)-1
	if n != last {
		h.swap(n, last)
	}
	h.h[last] = nil
	h.h = h.h[:last]
	a.at = 0
	if n != last {
		h.down(n)
		h.up(n)
	}
}

func (h *Heap[T]) up(n int) {
	for n > 0 {
		p := (n - 1) / 2
		if h.h[p].Due <= h.h[n].Due {
			return
		}
		h.swap(p, n)
		n = p
	}
}

func (h *Heap[T]) down(n int) {
	for {
		c := 2*n + 1
		if c >= len(h.h) {
			return
		}
		if c+1 < len(h.h) && h.h[c+1].Due < h.h[c].Due {
			c++
		}
		if h.h[n].Due <= h.h[c].Due {
			return
		}
		h.swap(n, c)
		n = c
	}
}

func (h *Heap[T]) swap(a, b int) {
	h.h[a], h.h[b] = h.h[b], h.h[a]
	h.h[a].at, h.h[b].at = a+1, b+1
}

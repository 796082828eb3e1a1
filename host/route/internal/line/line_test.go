package line

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// item stands in a queue and waits for an alarm.
type item struct {
	name string
	Waiter[item]
	alarm Alarm[item]
}

func newItem(name, key string) *item {
	i := &item{name: name}
	i.Init(i, key)
	i.alarm.Of = i
	return i
}

// ready returns the names of what may be taken, in order.
func (q *Queue[T]) readyNames(name func(*T) string) []string {
	names := []string{}
	for n := q.ready.Head(); n != nil; n = n.Next() {
		names = append(names, name(n.Of))
	}
	return names
}

func TestQueue(t *testing.T) {
	x1, x2, x3 := newItem("x1", "x"), newItem("x2", "x"), newItem("x3", "x")
	y1, y2, free := newItem("y1", "y"), newItem("y2", "y"), newItem("free", "")
	var q Queue[item]
	q.Order()
	want := func(step string, n int, names ...string) {
		t.Helper()
		if got := q.readyNames(func(i *item) string { return i.name }); !slices.Equal(got, names) || q.Len() != n {
			t.Errorf("%s: ready %v of %d, want %v of %d", step, got, q.Len(), names, n)
		}
	}
	for _, i := range []*item{x1, x2, y1, x3, y2, free} {
		q.Push(&i.Waiter)
	}
	want("pushed", 6, "x1", "y1", "free")
	if !x2.Held() || q.Oldest() != x1 || q.First() != x1 {
		t.Error("x2 is not held, or x1 not first")
	}
	q.Take(&x1.Waiter)
	q.Take(&x1.Waiter)
	want("x1 is out, and it is still its turn", 5, "y1", "free")
	q.Return(&x1.Waiter, true)
	want("x1 rests", 6, "y1", "free")
	if !x1.Resting() || q.Oldest() != x1 {
		t.Error("x1 does not rest, or is not the oldest")
	}
	q.Wake(&x1.Waiter)
	want("x1 is awake", 6, "x1", "y1", "free")
	q.Take(&x2.Waiter)
	q.Done(&x2.Waiter)
	want("x2 left while it was held", 5, "x1", "y1", "free")
	q.Take(&x1.Waiter)
	q.Done(&x1.Waiter)
	want("x1 is done", 4, "y1", "free", "x3")
	q.Done(&x1.Waiter)
	want("and only once", 4, "y1", "free", "x3")
	q.Take(&y1.Waiter)
	q.Return(&y1.Waiter, false)
	want("y1 is back", 4, "y1", "free", "x3")
	for _, i := range []*item{y1, free, x3} {
		q.Take(&i.Waiter)
		q.Done(&i.Waiter)
	}
	want("y2 is left", 1, "y2")
	q.Take(&y2.Waiter)
	q.Done(&y2.Waiter)
	if len(q.keys) != 0 || q.Oldest() != nil {
		t.Errorf("%d keys are left", len(q.keys))
	}
}

func TestQueueWithoutOrder(t *testing.T) {
	var q Queue[item]
	a, b := newItem("a", "x"), newItem("b", "x")
	q.Push(&a.Waiter)
	q.Push(&b.Waiter)
	q.Take(&a.Waiter)
	q.Done(&a.Waiter)
	if q.First() != b || q.Len() != 1 {
		t.Error("b does not follow")
	}
}

// The heap gives back what is in it by time, whatever left from its middle.
func TestHeap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h Heap[item]
	in := map[*item]bool{}
	for range 5000 {
		switch {
		case rng.IntN(3) > 0:
			i := newItem("", "")
			i.alarm.Due = rng.Int64N(100)
			h.Push(&i.alarm)
			in[i] = true
		default:
			for i := range in {
				h.Remove(&i.alarm)
				h.Remove(&i.alarm)
				if i.alarm.Set() {
					t.Fatal("set after it was removed")
				}
				delete(in, i)
				break
			}
		}
		if h.Len() != len(in) {
			t.Fatalf("%d alarms, want %d", h.Len(), len(in))
		}
	}
	last := int64(0)
	for a := h.First(); a != nil; a = h.First() {
		if a.Due < last || !in[a.Of] {
			t.Fatalf("%d after %d", a.Due, last)
		}
		last = a.Due
		delete(in, a.Of)
		h.Remove(a)
	}
	if len(in) != 0 {
		t.Errorf("%d alarms are lost", len(in))
	}
}

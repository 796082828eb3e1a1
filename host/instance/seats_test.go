package instance

import (
	"math/rand/v2"
	"testing"
)

// A table of seats is a map from handle to seat.
func TestSeats(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	var table seats
	want := map[uint32]*seat{}
	var left []*seat
	for handle := uint32(1); handle < 5000; handle++ {
		s := &seat{handle: handle}
		table.take(s)
		want[handle] = s
		for h, s := range want { // most leave soon, some stay
			if r.IntN(4) == 0 && h%300 != 0 {
				table.leave(s)
				left = append(left, s)
				delete(want, h)
			}
			break
		}
		if r.IntN(10) == 0 && len(left) > 0 {
			table.leave(left[r.IntN(len(left))]) // once more
		}
	}
	for h, s := range want {
		if h%300 != 0 { // one is left in a page, or none
			table.leave(s)
			delete(want, h)
		}
	}
	for h := range uint32(6000) {
		if got := table.at(h); got != want[h] {
			t.Fatalf("handle %d: %v, want %v", h, got, want[h])
		}
	}
	for _, s := range want {
		table.leave(s)
	}
	for n, p := range *table.pages.Load() {
		if p != nil {
			t.Errorf("page %d is kept for nobody: %d taken", n, p.taken)
		}
	}
}

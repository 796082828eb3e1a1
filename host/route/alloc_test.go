//go:build !race

// With the race detector pools lose things on purpose.

package route

import (
	"testing"
)

// An event that is carried allocates nothing, once the buffers are there.
func TestHopAllocatesNothing(t *testing.T) {
	r, i, q := benchRouter(t)
	i.Credit(64)
	h := newHop(r, i, q, sink{})
	round := func() {
		h.emitAll(64)
		if n := h.settleAll(false); n != 64 {
			t.Fatalf("%d of 64 were delivered", n)
		}
	}
	round()
	// The pool of events gives some up at a collection.
	if n := testing.AllocsPerRun(100, round) / 64; n > 0.2 {
		t.Errorf("%.2f allocations an event", n)
	}
}

//go:build !race

// With the race detector pools lose things on purpose.

package sdk

import (
	"context"
	"testing"
)

// An event of raw bytes costs its promise, and no more.
func TestEmitAllocates(t *testing.T) {
	said := Event[[]byte]("said", "Something was said.")
	p, env := alone(t, said)
	data := make([]byte, 256)
	ctx := context.Background()
	answers := make([]answer, 2)
	n := testing.AllocsPerRun(1000, func() {
		promise := said.Emit(ctx, env, data)
		answers[0] = answer{number: promise.number, accept: true}
		answers[1] = answer{number: promise.number}
		p.promises.take(answers)
		if _, err := promise.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1.5 { // the lane's frames are the half
		t.Errorf("%.1f allocations an event", n)
	}
}

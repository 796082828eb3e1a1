//go:build !race

// With the race detector pools lose things on purpose.

package sdk

import (
	"context"
	"testing"

	"github.com/pluginhost/host/sdk/internal/promise"
	"github.com/pluginhost/host/sdk/wire"
)

// alone is an instance whose lane nobody writes to or reads from.
func alone(t *testing.T, events ...EventDecl) (*process, *Env) {
	t.Helper()
	p, err := newProcess(Plugin[struct{}]{Name: "alone", Version: "1.0.0", Events: events})
	if err != nil {
		t.Fatal(err)
	}
	p.lane = wire.NewLane(nil)
	i := &instance{process: p, handle: 1}
	i.open.Store(true)
	return p, &Env{instance: i}
}

// An event of raw bytes costs its promise, and no more.
func TestEmitAllocates(t *testing.T) {
	said := Event[[]byte]("said", "Something was said.")
	s, env := alone(t, said)
	data := make([]byte, 256)
	ctx := context.Background()
	answers := make([]promise.Answer, 2)
	n := testing.AllocsPerRun(1000, func() {
		p := said.Emit(ctx, env, data)
		answers[0] = promise.Answer{Number: p.outcome.Number(), Accept: true}
		answers[1] = promise.Answer{Number: p.outcome.Number()}
		s.promises.Take(answers)
		if _, err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1.5 { // the lane's frames are the half
		t.Errorf("%.1f allocations an event", n)
	}
}

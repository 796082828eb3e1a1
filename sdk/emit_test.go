package sdk

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// Several may wait for one promise, with contexts that end or not, and a waker
// that is used again wakes nobody else.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := Event[int]("said", "Something was said.")
		p, env := alone(t, said)
		for range 100 {
			promise := said.Emit(t.Context(), env, 1)
			next := said.Emit(t.Context(), env, 2)
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			var wait sync.WaitGroup
			for n := range 4 {
				wait.Go(func() {
					ctx := t.Context()
					if n%2 == 0 {
						ctx = short
					}
					value, err := promise.Wait(ctx)
					if n%2 == 0 && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s, %v before it is settled", value, err)
					}
					if n%2 == 1 && (err != nil || string(value) != "7") {
						t.Errorf("%s, %v", value, err)
					}
				})
			}
			time.Sleep(2 * time.Second)
			p.promises.settle(promise.number, Value("7"), nil)
			wait.Wait()
			cancel()
			// A context that ends in the moment of the settling.
			both := said.Emit(t.Context(), env, 3)
			short, cancel = context.WithCancel(t.Context())
			wait.Go(func() { _, _ = both.Wait(short) })
			synctest.Wait()
			cancel()
			p.promises.settle(both.number, nil, nil)
			wait.Wait()
			pending, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := next.Wait(pending); err == nil {
				t.Error("the other promise was woken too")
			}
			cancel()
			p.promises.settle(next.number, nil, nil)
			if _, err := next.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

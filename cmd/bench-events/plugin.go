package main

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pluginhost/host/sdk"
)

var (
	started = sdk.Event[order]("started", "The measurement begins; sent by hand.")
	sent    = sdk.Event[[]byte]("sent", "One event to be measured.")
	run     = sdk.Action[order, outcome]("run", "Emits sent for a while and returns what was measured.")
	take    = sdk.Action[[]byte, []byte]("take", "Answers an event.")
)

// answer is what a handler of an event resolves it with.
var answer = []byte(`{"ok":true}`)

// servePlugin is the plugin of the daemon.
func servePlugin() {
	sdk.Serve(sdk.Plugin[struct{}]{
		Name: "bench", Version: "1.0.0", Doc: "Measures events.",
		Events: sdk.Events{started, sent}, Actions: sdk.Actions{run, take},
		New: func(_ context.Context, _ struct{}, env *sdk.Env) (*sdk.Instance, error) {
			return &sdk.Instance{Credit: 1024, Handlers: sdk.Handlers{
				run.Handle(func(ctx context.Context, o order) (outcome, error) {
					return drive(o, func(data []byte) error {
						_, err := sent.Emit(ctx, env, data).Wait(ctx)
						return err
					})
				}),
				take.Handle(func(context.Context, []byte) ([]byte, error) { return answer, nil }),
			}}, nil
		},
	})
}

// drive keeps the window full for a while: each of its goroutines waits for the
// promise of one event, then sends the next. Both naive and host are driven by
// it.
func drive(o order, send func(data []byte) error) (outcome, error) {
	data := payload(o.Size)
	var (
		mu     sync.Mutex
		failed error
		times  []time.Duration
		events int
		wait   sync.WaitGroup
	)
	start := time.Now()
	for range o.Window {
		wait.Go(func() {
			var mine []time.Duration
			n := 0
			for begin := start; time.Since(start) < o.For; n++ {
				if err := send(data); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failed = err
					return
				}
				if o.Window == 1 {
					now := time.Now()
					mine = append(mine, now.Sub(begin))
					begin = now
				}
			}
			mu.Lock()
			defer mu.Unlock()
			events += n
			times = append(times, mine...)
		})
	}
	wait.Wait()
	return outcome{Events: events, Elapsed: time.Since(start), P50: p50(times)}, failed
}

// payload is a JSON string of a size in bytes.
func payload(size int) []byte {
	if size < 2 {
		return []byte("0")
	}
	return slices.Concat([]byte{'"'}, bytes.Repeat([]byte{'x'}, size-2), []byte{'"'})
}

func p50(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[len(times)/2]
}

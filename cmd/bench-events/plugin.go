package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pluginhost/host/sdk"
)

var (
	started = sdk.Event[order]("started", "The measurement begins; sent by hand.")
	sent    = sdk.Event[[]byte]("sent", "One event to be measured.")
	judge   = sdk.Event[[]byte]("judged", "One event for a route with a when.")
	many    = manyEvents(250) // a manifest has at most 256
	run     = sdk.Action[order, outcome]("run", "Emits events for a while and returns what was measured.")
	take    = sdk.Action[sdk.Lent, []byte]("take", "Answers an event.") // and keeps none, as the relay
)

// answer is what a handler of an event resolves it with.
var answer = []byte(`{"ok":true}`)

// wide is how many instances of this plugin make 1,000 types of events.
const wide = 4

func manyEvents(n int) []*sdk.EventType[[]byte] {
	all := make([]*sdk.EventType[[]byte], n)
	for i := range all {
		all[i] = sdk.Event[[]byte](fmt.Sprintf("sent_%03d", i), "One of many types.")
	}
	return all
}

// servePlugin is the plugin of the daemon.
func servePlugin() {
	events := sdk.Events{started, sent, judge}
	for _, e := range many {
		events = append(events, e)
	}
	var envs []*sdk.Env // of the instances in this process, before any event
	sdk.Serve(sdk.Plugin[struct{}]{
		Name: "bench", Version: "1.0.0", Doc: "Measures events.",
		Events: events, Actions: sdk.Actions{run, take},
		New: func(_ context.Context, _ struct{}, env *sdk.Env) (*sdk.Instance, error) {
			envs = append(envs, env)
			return &sdk.Instance{Credit: 1024, Handlers: sdk.Handlers{
				run.Handle(func(ctx context.Context, o order) (outcome, error) {
					data := payload(o.Size)
					next := func(int) (*sdk.EventType[[]byte], *sdk.Env) { return sent, env }
					switch o.Event {
					case "judged":
						data, next = document(o.Size), func(int) (*sdk.EventType[[]byte], *sdk.Env) { return judge, env }
					case "many":
						next = func(n int) (*sdk.EventType[[]byte], *sdk.Env) {
							return many[n/len(envs)%len(many)], envs[n%len(envs)]
						}
					}
					emit := func(n int) *sdk.Promise {
						event, env := next(n)
						return event.Emit(ctx, env, data)
					}
					if o.Blocking {
						return drive(o, func(n int) error {
							_, err := emit(n).Wait(ctx)
							return err
						})
					}
					return drivePromises(ctx, o, emit)
				}),
				take.Handle(func(context.Context, sdk.Lent) ([]byte, error) { return answer, nil }),
			}}, nil
		},
	})
}

// drivePromises keeps the window full for a while, or for a number of events: it
// holds that many promises and waits for the oldest before it emits the next.
func drivePromises(ctx context.Context, o order, emit func(n int) *sdk.Promise) (outcome, error) {
	var (
		held   = make([]*sdk.Promise, o.Window)
		times  []time.Duration
		events int
		start  = time.Now()
		begin  = start
	)
	wait := func(n int) error {
		p := held[n%len(held)]
		if p == nil {
			return nil
		}
		if _, err := p.Wait(ctx); err != nil {
			return err
		}
		events++
		if o.Window == 1 {
			now := time.Now()
			times = append(times, now.Sub(begin))
			begin = now
		}
		return nil
	}
	more := func(n int) bool {
		if o.Events > 0 {
			return n < o.Events
		}
		return n%16 != 0 && o.Window > 1 || time.Since(start) < o.For
	}
	n := 0
	for ; more(n); n++ {
		if err := wait(n); err != nil {
			return outcome{}, err
		}
		held[n%len(held)] = emit(n)
	}
	for range held {
		if err := wait(n); err != nil {
			return outcome{}, err
		}
		n++
	}
	return outcome{Events: events, Elapsed: time.Since(start), P50: p50(times)}, nil
}

// drive does so with a goroutine for each event in flight, which waits for the
// answer before it sends the next. It is the only way to have many unary calls
// in flight, so naive is driven by it, and host once for comparison.
func drive(o order, send func(n int) error) (outcome, error) {
	var (
		mu     sync.Mutex
		failed error
		times  []time.Duration
		events int
		wait   sync.WaitGroup
	)
	start := time.Now()
	for g := range o.Window {
		wait.Go(func() {
			var mine []time.Duration
			n := 0
			quota := o.Events / o.Window
			if g < o.Events%o.Window {
				quota++
			}
			for begin := start; o.Events == 0 && time.Since(start) < o.For || n < quota; n++ {
				if err := send(g + n*o.Window); err != nil {
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

// document is a JSON object of a size in bytes, whose fields are read by a when:
// one in the middle, one at its end.
func document(size int) []byte {
	head := `{"id":"o-48151623","customer":{"name":"Ada Lovelace","mail":"ada@example.org","since":1842},` +
		`"items":[{"sku":"A-1","count":2,"price":12.5},{"sku":"B-77","count":1,"price":99.95}],"region":"eu","note":"`
	tail := `","currency":"EUR","total":124.95}`
	return slices.Concat([]byte(head), bytes.Repeat([]byte{'x'}, max(size-len(head)-len(tail), 0)), []byte(tail))
}

func p50(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[len(times)/2]
}

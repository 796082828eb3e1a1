package sdk_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/sdktest"
)

// A handler that is on hold for an hour costs the others of its instance little:
// the 99th percentile of their latency is at most twice what it is without. Time
// is simulated, and host's side too; host/route has the same test of the router.
func TestHandlerOnHold(t *testing.T) {
	const served = 1000
	p99 := func(t *testing.T, hold bool) (latency time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			var held time.Duration
			var cause error
			p := made(func(*sdk.Env) (*sdk.Instance, error) {
				return &sdk.Instance{Credit: 8, Handlers: sdk.Handlers{do.Handle(func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
					if string(in) == `"hold"` {
						start := time.Now()
						<-ctx.Done()
						held, cause = time.Since(start), context.Cause(ctx)
						return nil, ctx.Err()
					}
					time.Sleep(5 * time.Millisecond)
					return in, nil
				})}}, nil
			})
			in := sdktest.Start(t, p, nil)
			var stuck *sdktest.Delivery
			if hold {
				stuck = in.Deliver("do", "hold", func(e *sdk.EventInfo) { e.Deadline = time.Now().Add(time.Hour).UnixNano() })
			}
			var mu sync.Mutex
			var waits []time.Duration
			var siblings sync.WaitGroup
			for n := range served { // one each millisecond: five of eight places are taken
				born := time.Now()
				d := in.Deliver("do", n)
				siblings.Go(func() {
					if _, err := d.Wait(); err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					waits = append(waits, time.Since(born))
				})
				time.Sleep(time.Millisecond)
			}
			siblings.Wait()
			slices.Sort(waits)
			latency = waits[len(waits)*99/100]
			if !hold {
				return
			}
			<-stuck.Done()
			if _, err := stuck.Wait(); err == nil || err.Code != sdk.DeadlineExceeded {
				t.Errorf("after an hour: %v", err)
			}
			if held < time.Hour-time.Minute || held > time.Hour+time.Second || cause == nil {
				t.Errorf("it was on hold for %v, then %v", held, cause)
			}
		})
		return latency
	}
	alone, beside := p99(t, false), p99(t, true)
	t.Logf("p99 %v alone, %v beside one on hold", alone, beside)
	if alone < 5*time.Millisecond || beside > 2*alone {
		t.Errorf("p99 %v alone, %v beside one on hold", alone, beside)
	}
}

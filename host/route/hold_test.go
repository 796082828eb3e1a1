package route

import (
	"slices"
	"testing"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/sdk/wire"
)

// A handler that holds its delivery for an hour: its deadline rejects it, and
// the others at the same instance wait at most twice as long as without it, at
// their 99th percentile. Time is simulated.
func TestHandlerOnHold(t *testing.T) {
	const served = 2000
	p99 := func(t *testing.T, hold bool) (latency time.Duration) {
		bubble(t, func(t *testing.T, g *rig) {
			g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Timeout, d.Attempts = time.Hour, 1 })})
			b := g.attach("b", 8)
			a := g.source("a", "said")
			var held []uint64
			var stuck wire.Deliver
			if hold {
				held = append(held, a.emit("hold"))
				stuck = b.one(t)
			}
			var waits []time.Duration
			born := map[string]time.Time{}
			var working []wire.Deliver // each takes five milliseconds
			for n := 0; len(waits) < served; n++ {
				data := time.Duration(n).String()
				born[data] = time.Now()
				if n > 10*served {
					t.Fatalf("%d events, %d are served: the others wait for the one on hold", n, len(waits))
				}
				a.emit(data)
				working = append(working, b.take()...)
				wait(time.Millisecond)
				if len(working) < 5 {
					continue
				}
				d := working[0]
				working = working[1:]
				if err := b.resolve(d, ""); err != nil {
					t.Fatal(err)
				}
				b.Credit(1)
				waits = append(waits, time.Since(born[string(d.Event.Data)]))
			}
			for _, d := range append(working, b.take()...) {
				_ = b.resolve(d, "")
			}
			slices.Sort(waits)
			latency = waits[len(waits)*99/100]
			if !hold {
				return
			}
			a.want(held[0], "accepted")
			wait(time.Hour)
			if e := a.error(held[0]); e.Code != wire.DeadlineExceeded {
				t.Errorf("after an hour: %v", e)
			}
			if err := b.resolve(stuck, "at last"); err == nil {
				t.Error("the answer after an hour was taken")
			}
		})
		return latency
	}
	alone, beside := p99(t, false), p99(t, true)
	t.Logf("p99 %v alone, %v beside one on hold", alone, beside)
	if alone <= 0 || beside > 2*alone {
		t.Errorf("p99 %v alone, %v beside one on hold", alone, beside)
	}
}

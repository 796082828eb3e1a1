package route

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/route/internal/queue"
)

// TestStress lets everything that calls the router do so at once, for the race
// detector; each promise is settled once and the books balance.
func TestStress(t *testing.T) {
	const emitters, events = 4, 400
	g := &rig{t: t, r: New(Options{})}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = g.r.Run(ctx) })

	policy := func(queue int) func(*config.Delivery) {
		return func(d *config.Delivery) {
			d.Queue, d.Attempts, d.Backoff, d.Order = queue, 1000, 0, "subject"
		}
	}
	tables := [][]config.Route{
		{routeTo("r", "b", policy(8)), routeTo("s", "c", policy(64))},
		{routeTo("s", "c", policy(64)), routeTo("r", "b", policy(16))},
	}
	g.r.Swap(tables[0])
	var emitting sync.WaitGroup
	sources := make([]*emitter, emitters)
	for n := range sources {
		sources[n] = g.source("a", "said")
		emitting.Go(func() {
			for k := range events {
				sources[n].emit(fmt.Sprint(k), subjectOf(fmt.Sprint(k%3)))
			}
		})
	}
	done := make(chan struct{})
	for _, address := range []string{"b", "c"} {
		running.Go(func() {
			for life := 0; ; life++ {
				i := g.attach(address, 16)
				for n := 0; n < 300; {
					select {
					case <-done:
						i.Close(crash)
						return
					default:
					}
					for _, d := range i.take() {
						n++
						_ = i.resolve(d, "ok")
						_ = i.resolve(d, "again")
						i.Credit(1)
					}
				}
				i.Close(crash)
			}
		})
	}
	running.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				g.r.Swap(tables[n%2])
				g.r.Counts()
				g.r.Queued("b")
			}
		}
	})
	emitting.Wait()
	if err := g.r.Idle(t.Context()); err != nil {
		t.Error(err)
	}
	g.check()
	close(done)
	cancel()
	running.Wait()
	g.check()
	for _, s := range sources {
		for p := range uint64(events) {
			s.want(p+1, "= ok")
		}
	}
	if c, _ := g.r.Counts(); c.Accepted != emitters*events || c.Resolved != emitters*events {
		t.Errorf("%+v", c)
	}
}

func TestCreditIsBounded(t *testing.T) {
	g := &rig{t: t, r: New(Options{})}
	i := g.attach("b", 1<<32-1)
	i.Credit(1<<32 - 1)
	if _, credit := i.InFlight(); credit != queue.MaxCredit {
		t.Errorf("%d credit", credit)
	}
}

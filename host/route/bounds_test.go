package route

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// A plugin may put much into an error and a subject. Who waits for the promise
// gets all of it; what is remembered of it does not grow with it.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) {
			d.Attempts, d.Backoff, d.DeadLetter = 100, 0, &config.Endpoint{Instance: "dead", Name: "do"}
		})})
		a := g.source("a", "said")
		b, dead := g.attach("b", 200), g.attach("dead", 9)
		large := &wire.Error{Code: wire.Internal, Retryable: true, Reason: strings.Repeat("r", 30_000), Message: strings.Repeat("ä", 30_000), Details: bytes.Repeat([]byte(" "), 4<<20)}
		p := a.emit(`{}`, subjectOf(strings.Repeat("s", 60_000)))
		for range 100 {
			d := b.one(t)
			if err := b.Settle(&wire.Settle{Ref: d.Delivery, Attempt: d.Attempt, Err: large}); err != nil {
				t.Fatal(err)
			}
		}
		if e := a.error(p); len(e.Message) != 60_000 || len(e.Details) != 4<<20 {
			t.Errorf("who waits gets %d bytes of the message and %d of details", len(e.Message), len(e.Details))
		}
		if d := dead.one(t); len(d.Input) > 1<<20 {
			t.Errorf("the letter has %d bytes", len(d.Input))
		}
		bodies, _ := g.r.Dead()
		if len(bodies) != 1 || len(bodies[0].Attempts) != 100 {
			t.Fatalf("%d dead, the history is not that of 100 attempts", len(bodies))
		}
		small := func(what string, err *wire.Error) {
			if err != nil && len(err.Message)+len(err.Details)+len(err.Reason) > 4096 {
				t.Errorf("%s keeps %d bytes of an error", what, len(err.Message)+len(err.Details)+len(err.Reason))
			}
		}
		small("the dead delivery", bodies[0].Err)
		for _, x := range bodies[0].Attempts {
			small("its history", x.Err)
		}
		now, cancel := context.WithCancel(t.Context())
		cancel()
		entries := 0
		_ = g.rec.Tail(now, 4096, nil, func(e observe.Entry) error {
			entries++
			if len(e.Subject) > 300 {
				t.Errorf("the recorder keeps %d bytes of a subject", len(e.Subject))
			}
			small("the recorder", e.Err)
			return nil
		})
		if entries < 200 {
			t.Errorf("%d entries", entries)
		}
		for _, r := range g.r.Reasons() {
			if len(r.Reason) > 100 {
				t.Errorf("the ledger keeps a reason of %d bytes", len(r.Reason))
			}
		}
	})
}

// Numbers of promises are the plugin's: equal ones, and such as fall into one
// place of a table, cost the others nothing.
func TestPromisesOfOneNumber(t *testing.T) {
	for name, number := range map[string]func(int) uint64{
		"equal": func(int) uint64 { return 7 }, "steps": func(n int) uint64 { return uint64(n+1) << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			const pending = 60_000
			g := &rig{t: t, r: New(Options{})}
			g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Queue = pending })})
			g.attach("b", 0)
			s := &Source{Address: "a", Events: []string{"said"}}
			for n := range pending {
				g.r.Emit(s, &wire.Emit{Promise: number(n)})
			}
			start := time.Now()
			for range pending { // of promises that are not there
				g.r.Withdraw(s, 1<<19)
			}
			for n := range pending {
				g.r.Withdraw(s, number(n))
			}
			took := time.Since(start)
			t.Logf("%v", took)
			if took > 30*time.Second { // a tenth of a second, and once it was minutes
				t.Errorf("%d withdrawals took %v", 2*pending, took)
			}
			if c, _ := g.r.Counts(); c.Pending != 0 || c.Rejected != pending {
				t.Errorf("%+v", c)
			}
			g.check()
		})
	}
}

// A hundred thousand subjects, each with its turn, leave nothing behind.
func TestManySubjects(t *testing.T) {
	g := &rig{t: t, r: New(Options{})}
	g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Order, d.Queue = "subject", 100_000 })})
	a := g.source("a", "said")
	for round := range 3 {
		for n := range 100_000 {
			a.emit("", subjectOf(fmt.Sprint(round, n%50_000)))
		}
		b := g.attach("b", 100_000)
		seen := 0
		for got := b.take(); len(got) > 0; got = b.take() {
			for _, d := range got {
				_ = b.resolve(d, "")
				seen++
			}
		}
		if seen != 100_000 {
			t.Errorf("%d were delivered", seen)
		}
		b.Close(nil)
		_, routes := g.r.Counts()
		if i := slices.IndexFunc(routes, func(r observe.Route) bool { return r.Pending > 0 || r.Queued > 0 }); i >= 0 {
			t.Errorf("%+v", routes[i])
		}
		g.check()
	}
}

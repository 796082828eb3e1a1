package route

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/match"
	"github.com/pluginhost/host/sdk/wire"
)

func TestSwapKeepsUnchangedRoutes(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		keep, change := routeTo("keep", "b"), routeTo("change", "b")
		g.r.Swap([]config.Route{keep, change})
		a := g.source("a", "said")
		a.emit("1")
		changed := routeTo("change", "b", func(d *config.Delivery) { d.Attempts = 9 })
		g.r.Swap([]config.Route{changed, keep})
		g.check()
		a.emit("2")
		var names []string
		_, routes := g.r.Counts()
		for _, r := range routes {
			names = append(names, r.Name)
			want := uint64(1)
			if r.Name == "keep" {
				want = 2
			}
			if r.Pending != want {
				t.Errorf("%s: %+v", r.Name, r.Counts)
			}
		}
		if !slices.Equal(names, []string{"change", "keep", "change (old)"}) {
			t.Errorf("routes %v", names)
		}
		g.r.Swap([]config.Route{keep, change}) // the old one is back before it was done
		if r := g.ledger("change"); r.Pending != 1 {
			t.Errorf("%+v", r.Counts)
		}
		b := g.attach("b", 9)
		for _, d := range b.take() {
			_ = b.resolve(d, "")
		}
		g.check()
		if n := len(g.r.c.Targets["b"].Routes); n != 2 {
			t.Errorf("%d routes are kept, the changed one has nothing left to do", n)
		}
		b.Close(crash)
		g.r.Swap(nil)
		if n := len(g.r.c.Targets); n != 0 {
			t.Errorf("%d targets are kept", n)
		}
	})
}

func TestActionThatIsMissing(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		r := routeTo("r", "b")
		r.To.Name, r.Text = "new", "r new"
		g.r.Swap([]config.Route{r})
		a := g.source("a", "said")
		old := g.attach("b", 9) // of the generation before: has no action "new"
		p := a.emit("1")
		a.want(p, "accepted")
		if len(old.take()) != 0 {
			t.Error("delivered to an action that is not there")
		}
		i := &instance{}
		i.Inbox = g.r.Attach(Attachment{Address: "b", Actions: []string{"new"}, Outlet: i})
		i.Credit(1)
		_ = i.resolve(i.one(t), "1")
		a.want(p, "= 1")

		p = a.emit("2") // waits for credit when its route is removed
		g.r.Swap(nil)
		a.want(p, "accepted")
		g.attach("b", 9)
		if e := a.error(p); e.Code != wire.Unavailable || !strings.Contains(e.Message, "no action new") {
			t.Errorf("%v", e)
		}
	})
}

func TestRouteAsksOncePerEvent(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		r := routeTo("r", "b")
		r.From = append(r.From, r.From[0])
		g.r.Swap([]config.Route{r})
		b := g.attach("b", 9)
		g.source("a", "said").emit("1")
		_ = b.resolve(b.one(t), "")
	})
}

// An event that was matched before a swap, and takes the lock after it, goes by
// the new table: the old route may be forgotten already.
func TestSwapDuringEmit(t *testing.T) {
	rec := observe.NewRecorder(100)
	g := &rig{t: t, r: New(Options{Recorder: rec}), rec: rec}
	a := g.source("a", "said")
	for range 20 {
		g.r.Swap([]config.Route{routeTo("r", "b")})
		g.r.c.Mu.Lock()
		done := make(chan uint64)
		go func() { done <- a.emit("1") }()
		for !a.Cache.Has(g.r.table.Load()) {
			time.Sleep(time.Millisecond) // until it matches
		}
		time.Sleep(time.Millisecond) // and waits for the lock
		g.r.table.Store(match.NewTable[link](nil, nil))
		g.r.c.Mu.Unlock()
		if e := a.error(<-done); e.Reason != wire.ReasonUnrouted {
			t.Fatalf("%v", e)
		}
	}
	g.check()
}

func TestEmitHost(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		r := routeTo("r", "b")
		r.From = []config.Endpoint{{Instance: "host", Name: "ready"}}
		g.r.Swap([]config.Route{r})
		b := g.attach("b", 9)
		g.r.EmitHost("nobody.cares", 1)
		if c, _ := g.r.Counts(); c.Accepted != 0 {
			t.Errorf("%+v", c)
		}
		g.r.EmitHost("ready", map[string]int{"generation": 3})
		d := b.one(t)
		if d.Event.Type != "host.ready" || d.Event.Source != "n1/host" || string(d.Event.Data) != `{"generation":3}` {
			t.Errorf("%+v", d.Event)
		}
		g.r.EmitHost("bad", func() {})
	})
}

func TestIdleAndTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &rig{t: t, r: New(Options{})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.r.Run(ctx) }()
		if err := g.r.Idle(ctx); err != nil {
			t.Error(err)
		}
		g.r.Swap([]config.Route{routeTo("r", "b", overflow("block", 1), func(d *config.Delivery) {
			d.DeadLetter = &config.Endpoint{Instance: "dead", Name: "do"}
		})})
		a := g.source("a", "said")
		b := g.attach("b", 1)
		p := []uint64{a.emit("in flight"), a.emit("queued"), a.emit("parked")}
		short, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		if err := g.r.Idle(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("idle: %v", err)
		}
		idle := make(chan error)
		go func() { idle <- g.r.Idle(t.Context()) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := <-idle; err != nil {
			t.Error(err)
		}
		g.check()
		p = append(p, a.emit("too late"))
		for _, p := range p {
			if e := a.error(p); e.Code != wire.Unavailable || e.Reason != wire.ReasonDraining {
				t.Errorf("%d: %v", p, e)
			}
		}
		if err := b.resolve(b.one(t), ""); err == nil {
			t.Error("settled after the end")
		}
		g.check()
	})
}

func TestStory(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b")})
		b := g.attach("b", 0)
		g.source("a", "said").emit("1")
		b.Credit(2)
		_ = b.fail(b.one(t), wire.Unavailable, true)
		wait(time.Second)
		_ = b.resolve(b.one(t), "1")
		var steps []string
		err := g.rec.Tail(t.Context(), 100, nil, func(e observe.Entry) error {
			s := string(e.Step)
			if e.Route != "" {
				s += " " + e.Route + ">" + e.Instance
			}
			if e.Err != nil {
				s += " (" + e.Err.Message + ")"
			}
			steps = append(steps, s)
			if e.Step == observe.Resolved {
				return errEnough
			}
			return nil
		})
		if !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
		want := []string{"emitted", "queued r>b", "delivered r>b", "retrying r>b (it failed)", "delivered r>b", "settled r>b", "resolved"}
		if !slices.Equal(steps, want) {
			t.Errorf("steps %q", steps)
		}
	})
}

// A route that a reload changes keeps its counts: what ended before, and what
// its old form still had, counts under its name, whichever way it goes.
func TestCountsOutliveChanges(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		form := func(timeout time.Duration) config.Route {
			return routeTo("r", "b", func(d *config.Delivery) {
				d.Timeout, d.Attempts, d.DeadLetter = timeout, 1, &config.Endpoint{Instance: "dead", Name: "do"}
			})
		}
		g.r.Swap([]config.Route{form(time.Minute)})
		a, b, dead := g.source("a", "said"), g.attach("b", 9), g.attach("dead", 9)
		a.emit("1")
		_ = b.resolve(b.one(t), "")
		a.emit("2")
		_ = b.fail(b.one(t), wire.Internal, false)
		_ = dead.resolve(dead.one(t), "")
		a.emit("3")
		three := b.one(t)
		last := uint64(0)
		want := func(step string, accepted, resolved, died, pending uint64) {
			t.Helper()
			g.check()
			c := g.ledger("r")
			if c.Accepted != accepted || c.Resolved != resolved || c.Dead != died || c.Pending != pending || c.Attempts < last {
				t.Errorf("%s: %+v", step, c.Counts)
			}
			last = c.Attempts
			if l := g.ledger("r (dead letters)"); l.Resolved != died {
				t.Errorf("%s: letters %+v", step, l.Counts)
			}
		}
		want("before", 3, 1, 1, 1)
		g.r.Swap([]config.Route{form(2 * time.Minute)})
		want("changed", 2, 1, 1, 0)
		if old := g.ledger("r (old)"); old.Accepted != 1 || old.Pending != 1 || old.Resolved != 0 {
			t.Errorf("the old one: %+v", old.Counts)
		}
		g.r.Swap([]config.Route{form(time.Minute)})
		want("and back", 3, 1, 1, 1)
		g.r.Swap([]config.Route{form(3 * time.Minute)})
		g.r.Swap([]config.Route{form(4 * time.Minute)})
		_ = b.resolve(three, "")
		want("the old one has ended", 3, 2, 1, 0)
		if r := g.ledger("r").Reasons; len(r) != 1 || r[0].Count != 1 || r[0].Ending != "dead" {
			t.Errorf("%+v", r)
		}
		if _, routes := g.r.Counts(); len(routes) != 2 {
			t.Errorf("%+v", routes)
		}
	})
}

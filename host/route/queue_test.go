package route

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/sdk/wire"
)

func overflow(how string, queue int) func(*config.Delivery) {
	return func(d *config.Delivery) { d.Overflow, d.Queue = how, queue }
}

func TestBlockParksEmitsInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", overflow("block", 2))})
		b := g.attach("b", 0)
		a := g.source("a", "said")
		var p []uint64
		for n := range 4 {
			p = append(p, a.emit(fmt.Sprint(n)))
		}
		for n, want := range []string{"accepted", "accepted", "pending", "pending"} {
			a.want(p[n], want)
		}
		if n := g.r.Queued("b"); n != 4 {
			t.Errorf("%d queued", n)
		}
		g.check()
		b.Credit(1)
		a.want(p[2], "accepted")
		a.want(p[3], "pending")
		b.Credit(9)
		got := b.take()
		if s := texts(got); !slices.Equal(s, []string{"0", "1", "2", "3"}) {
			t.Errorf("delivered %v", s)
		}
		for n, d := range got {
			_ = b.resolve(d, "1")
			a.want(p[n], "= 1")
		}
	})
}

func TestBlockIsBoundedByTheWindow(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", overflow("block", 1))})
		a, other := g.source("a", "said"), g.source("a", "said")
		for range 1 + wire.EmitWindow {
			a.emit("x")
		}
		p := a.emit("too many")
		if got := a.outcome(p); !strings.HasPrefix(got, "resource_exhausted") {
			t.Errorf("beyond the window: %s", got)
		}
		other.want(other.emit("y"), "pending")
		b := g.attach("b", 1)
		_ = b.resolve(b.one(t), "")
		if got := a.outcome(a.emit("again")); got != "pending" {
			t.Errorf("with room in the window: %s", got)
		}
	})
}

func TestParkedEmitExpires(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", overflow("block", 1))})
		a := g.source("a", "said")
		first := a.emit("x")
		p := a.emit("y", within(time.Second))
		wait(time.Second)
		if got := a.outcome(p); !strings.HasPrefix(got, "deadline_exceeded") {
			t.Error(got)
		}
		a.want(first, "accepted")
		if c := g.ledger("r").Counts; c.Accepted != 1 {
			t.Errorf("the route never had it: %+v", c)
		}
	})
}

func TestRejectWhenFull(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", overflow("reject", 1))})
		a := g.source("a", "said")
		first, second := a.emit("1"), a.emit("2")
		a.want(first, "accepted")
		if got := a.outcome(second); !strings.HasPrefix(got, "resource_exhausted queue_full") || a.accepted[second] != 0 {
			t.Errorf("%s, accepted %d times", got, a.accepted[second])
		}
	})
}

func TestRejectWithoutAwaitIsNoAcceptance(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", overflow("reject", 1), func(d *config.Delivery) { d.Await = false })})
		a := g.source("a", "said")
		a.want(a.emit("1"), "= ")
		if got := a.outcome(a.emit("2")); !strings.HasPrefix(got, "resource_exhausted queue_full") {
			t.Error(got)
		}
	})
}

func TestDropOldest(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", overflow("drop_oldest", 2))})
		a := g.source("a", "said")
		b := g.attach("b", 1)
		p := []uint64{a.emit("0"), a.emit("1"), a.emit("2"), a.emit("3")}
		a.want(p[0], "accepted") // in flight: not waiting
		if e := a.error(p[1]); e.Reason != wire.ReasonQueueFull {
			t.Errorf("the oldest that waits: %v", e)
		}
		b.Credit(9)
		if s := texts(b.take()); !slices.Equal(s, []string{"0", "2", "3"}) {
			t.Errorf("delivered %v", s)
		}
		if c := g.ledger("r").Counts; c.Dropped != 1 || c.Rejected != 0 || c.Accepted != 4 {
			t.Errorf("%+v", c)
		}
	})
}

func TestFanOutIsAcceptedWhenAllHaveIt(t *testing.T) {
	bubble(t, func(_ *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", overflow("block", 1)), routeTo("s", "c")})
		a := g.source("a", "said")
		c := g.attach("c", 9)
		a.emit("1")
		p := a.emit("2")
		a.want(p, "pending")
		for _, d := range c.take() { // the other route goes ahead
			_ = c.resolve(d, "c")
		}
		a.want(p, "pending")
		b := g.attach("b", 9)
		a.want(p, "accepted")
		for _, d := range b.take() {
			_ = b.resolve(d, "b")
		}
		a.want(p, "= b")
	})
}

func TestConcurrencyAndTurns(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		one := routeTo("one", "b", func(d *config.Delivery) { d.Concurrency = 1 })
		two := routeTo("two", "b")
		two.From[0].Name = "heard"
		g.r.Swap([]config.Route{one, two})
		a, c := g.source("a", "said"), g.source("a", "heard")
		for n := range 3 {
			a.emit(fmt.Sprint("s", n))
			c.emit(fmt.Sprint("h", n))
		}
		b := g.attach("b", 2)
		got := b.take()
		if s := texts(got); !slices.Equal(s, []string{"s0", "h0"}) {
			t.Fatalf("in turn: %v", s)
		}
		b.Credit(4)
		if s := texts(b.take()); !slices.Equal(s, []string{"h1", "h2"}) {
			t.Errorf("one at a time of route one: %v", s)
		}
		_ = b.resolve(got[0], "")
		if s := texts(b.take()); !slices.Equal(s, []string{"s1"}) {
			t.Errorf("then the next: %v", s)
		}
	})
}

func TestOrderBySubject(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Order = "subject" })})
		a := g.source("a", "said")
		b := g.attach("b", 100)
		for _, s := range []string{"x1", "x2", "y1", "x3", "y2"} {
			a.emit(s, subjectOf(s[:1]))
		}
		a.emit("free1")
		a.emit("free2")
		got := b.take()
		if s := texts(got); !slices.Equal(s, []string{"x1", "y1", "free1", "free2"}) {
			t.Fatalf("at first: %v", s)
		}
		g.check()
		_ = b.fail(got[0], wire.Unavailable, true) // x1 is tried again before x2
		_ = b.resolve(got[1], "")
		if s := texts(b.take()); !slices.Equal(s, []string{"y2"}) {
			t.Errorf("after y1: %v", s)
		}
		g.check()
		wait(time.Second)
		again := b.one(t)
		if string(again.Event.Data) != "x1" || again.Attempt != 2 {
			t.Fatalf("after the backoff: %+v", again)
		}
		_ = b.fail(again, wire.InvalidArgument, false)
		x2 := b.one(t)
		if string(x2.Event.Data) != "x2" {
			t.Errorf("after x1 failed for good: %s", x2.Event.Data)
		}
	})
}

func TestPriorityOfWhatWasInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b")})
		a := g.source("a", "said")
		b := g.attach("b", 3)
		for n := range 6 {
			a.emit(fmt.Sprint(n))
		}
		b.Close(crash)
		b.Close(crash)
		g.check()
		c := g.attach("b", 9)
		got := c.take()
		if s := texts(got); !slices.Equal(s, []string{"0", "1", "2", "3", "4", "5"}) {
			t.Errorf("to the next process: %v", s)
		}
		if got[0].Attempt != 2 || got[5].Attempt != 1 {
			t.Errorf("attempts %d and %d", got[0].Attempt, got[5].Attempt)
		}
	})
}

// A route that is changed under load keeps the order of its subjects: what the
// old one has, queued, in flight or unaccepted, comes before what the new one
// takes, also where that leads elsewhere.
func TestOrderAcrossReload(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		ordered := func(timeout time.Duration, to string) config.Route {
			return routeTo("r", to, func(d *config.Delivery) { d.Order, d.Timeout, d.Queue = "subject", timeout, 2 })
		}
		g.r.Swap([]config.Route{ordered(time.Minute, "b")})
		a := g.source("a", "said")
		b, c := g.attach("b", 100), g.attach("c", 100)
		for _, s := range []string{"x1", "x2", "x3", "x4", "y0"} { // x1 in flight, two queued, two have no room
			a.emit(s, subjectOf(s[:1]))
		}
		x1 := b.one(t)
		g.r.Swap([]config.Route{ordered(2*time.Minute, "b")})
		g.check()
		for _, s := range []string{"x5", "y1"} {
			a.emit(s, subjectOf(s[:1]))
		}
		y0 := b.one(t)
		if got := string(y0.Event.Data); got != "y0" {
			t.Fatalf("%s is delivered beside x1", got)
		}
		g.r.Swap([]config.Route{ordered(2*time.Minute, "c")})
		for _, s := range []string{"x6", "z1"} {
			a.emit(s, subjectOf(s[:1]))
		}
		if s := texts(c.take()); !slices.Equal(s, []string{"z1"}) {
			t.Errorf("elsewhere: %v", s)
		}
		if err := b.fail(x1, wire.Unavailable, true); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		for _, want := range []string{"x1", "x2", "x3", "x4", "x5"} {
			d := b.one(t)
			if got := string(d.Event.Data); got != want {
				t.Fatalf("%s is delivered, it is the turn of %s", got, want)
			}
			if s := texts(c.take()); len(s) > 0 {
				t.Fatalf("%v overtake %s", s, want)
			}
			g.check()
			_ = b.resolve(d, "")
		}
		if s := texts(c.take()); !slices.Equal(s, []string{"x6"}) {
			t.Errorf("at last: %v", s)
		}
		_ = b.resolve(y0, "")
		if s := texts(b.take()); !slices.Equal(s, []string{"y1"}) {
			t.Errorf("after y0: %v", s)
		}
	})
}

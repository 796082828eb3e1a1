package route

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/sdk/wire"
)

func TestRetryBacksOff(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) {
			d.Attempts, d.Backoff, d.MaxBackoff = 5, time.Second, 3*time.Second
		})})
		a := g.source("a", "said")
		b := g.attach("b", 99)
		p := a.emit("1")
		for n, most := range []time.Duration{1, 2, 3, 3} {
			d := b.one(t)
			if d.Attempt != uint32(n+1) {
				t.Fatalf("attempt %d, want %d", d.Attempt, n+1)
			}
			_ = b.fail(d, wire.Unavailable, true)
			g.check()
			wait(most*time.Second/2 - time.Millisecond)
			if got := b.take(); len(got) != 0 {
				t.Fatalf("attempt %d came within half its backoff", n+2)
			}
			wait(most*time.Second/2 + time.Millisecond)
		}
		_ = b.fail(b.one(t), wire.Unavailable, true)
		e := a.error(p)
		if e.Code != wire.Unavailable || e.Instance != "b" || e.Version != "1.2.3" {
			t.Errorf("%+v", e)
		}
		if c := g.ledger("r").Counts; c.Retries != 4 || c.Rejected != 1 {
			t.Errorf("%+v", c)
		}
	})
}

func TestNotRetryable(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b")})
		a := g.source("a", "said")
		b := g.attach("b", 9)
		p := a.emit("1")
		_ = b.fail(b.one(t), wire.InvalidArgument, false)
		if got := a.outcome(p); !strings.HasPrefix(got, "invalid_argument") {
			t.Error(got)
		}
	})
}

func TestTimeouts(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) {
			d.Timeout, d.Attempts, d.Backoff = time.Second, 2, 0
		})})
		a := g.source("a", "said")
		b := g.attach("b", 2)
		p, q := a.emit("1"), a.emit("2")
		wait(time.Second)
		if got := b.take(); len(got) != 2 || len(b.cancelled) != 2 {
			t.Fatalf("a timeout gives no credit back: %v, cancelled %v", texts(got), b.cancelled)
		}
		g.check()
		b.Credit(2)
		if got := b.take(); len(got) != 2 || got[0].Attempt != 2 {
			t.Fatalf("with credit: %+v", got)
		}
		wait(time.Second)
		for _, p := range []uint64{p, q} {
			if e := a.error(p); e.Code != wire.DeadlineExceeded || e.Instance != "b" || !strings.Contains(e.Message, "within 1s, attempt 2") {
				t.Errorf("%+v", e)
			}
		}
		if b.Desk.InFlight != 0 {
			t.Errorf("%d in flight", b.Desk.InFlight)
		}
	})
}

func TestEventDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b")})
		a := g.source("a", "said")
		b := g.attach("b", 1)
		end := time.Now().Add(2 * time.Second).UnixNano()
		flying, queued := a.emit("1", within(2*time.Second)), a.emit("2", within(time.Second))
		long := a.emit("3", within(time.Hour))
		if d := b.one(t); d.Deadline != end {
			t.Errorf("the attempt ends at %d, want the event's deadline %d", d.Deadline, end)
		}
		wait(time.Second)
		if e := a.error(queued); e.Code != wire.DeadlineExceeded || e.Instance != "b" || !strings.Contains(e.Message, "no credit") {
			t.Errorf("%+v", e)
		}
		a.want(flying, "accepted")
		wait(time.Second)
		if e := a.error(flying); e.Code != wire.DeadlineExceeded {
			t.Errorf("%+v", e)
		}
		if len(b.cancelled) != 1 {
			t.Errorf("cancelled %v", b.cancelled)
		}
		b.Credit(1)
		_ = b.resolve(b.one(t), "1")
		a.want(long, "= 1")
	})
}

func TestNoBackoffBeyondTheDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Backoff = 5 * time.Second })})
		a := g.source("a", "said")
		b := g.attach("b", 9)
		p := a.emit("1", within(time.Second))
		_ = b.fail(b.one(t), wire.Unavailable, true)
		if e := a.error(p); e.Code != wire.Unavailable {
			t.Errorf("there is no time for another attempt: %v", e)
		}
	})
}

func TestCrashUsesUpAttempts(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Attempts = 2 })})
		a := g.source("a", "said")
		p := a.emit("1")
		for n := range 2 {
			a.want(p, "accepted")
			b := g.attach("b", 1)
			if d := b.one(t); d.Attempt != uint32(n+1) {
				t.Errorf("attempt %d", d.Attempt)
			}
			b.Close(crash)
			g.check()
			wait(time.Second)
		}
		e := a.error(p)
		if e.Code != wire.Unavailable || e.Reason != wire.ReasonCrashed || e.Instance != "b" || e.Version != "1.2.3" ||
			string(e.Details) != string(crash.Details) {
			t.Errorf("%+v", e)
		}
		if crash.Instance != "" {
			t.Error("the reason given to Close was changed")
		}
	})
}

func TestDrainingCostsNoAttempt(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Attempts = 1 })})
		a := g.source("a", "said")
		old := g.attach("b", 9)
		kept, moved := a.emit("1"), a.emit("2")
		first := old.take()
		next := g.attach("b", 9)
		later := a.emit("3")
		if s := texts(old.take()); len(s) != 0 {
			t.Errorf("the old instance got %v", s)
		}
		_ = old.resolve(first[0], "old")
		a.want(kept, "= old")
		old.Close(&wire.Error{Code: wire.Unavailable, Reason: wire.ReasonDraining, Message: "replaced"})
		got := next.take()
		if s := texts(got); len(s) != 2 || s[0] != "3" || s[1] != "2" || got[1].Attempt != 2 {
			t.Fatalf("the successor got %v", s)
		}
		_ = next.resolve(got[1], "new")
		a.want(moved, "= new")
		_ = next.resolve(got[0], "new")
		a.want(later, "= new")
	})
}

// What reaches an instance when its drain has begun is refused by it, and goes
// to its successor: no failure either.
func TestDrainingRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Attempts = 1 })})
		a := g.source("a", "said")
		old := g.attach("b", 9)
		refused, working := a.emit("1"), a.emit("2")
		had := old.take()
		draining := &wire.Error{Code: wire.Unavailable, Reason: wire.ReasonDraining, Retryable: true, Message: "it takes nothing new"}
		_ = old.Settle(&wire.Settle{Ref: had[1].Delivery, Attempt: had[1].Attempt, Err: draining}) // nobody asked it to drain: a failure
		if e := a.error(working); e == nil || e.Code != wire.Unavailable {
			t.Errorf("an attempt that counts: %v", e)
		}
		old.Stop()
		_ = old.Settle(&wire.Settle{Ref: had[0].Delivery, Attempt: had[0].Attempt, Err: draining})
		next := g.attach("b", 9)
		got := next.take()
		if s := texts(got); len(s) != 1 || s[0] != "1" {
			t.Fatalf("the successor got %v", s)
		}
		_ = next.resolve(got[0], "new")
		a.want(refused, "= new")
	})
}

// An inbox is down when what the instance had is answered.
func TestDown(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(*config.Delivery) {})})
		a := g.source("a", "said")
		b := g.attach("b", 9)
		a.emit("1")
		a.emit("2")
		had := b.take()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if b.Down(ctx, 1) {
			t.Error("down with two in flight")
		}
		down := make(chan bool)
		go func() { down <- b.Down(t.Context(), 1) }()
		_ = b.resolve(had[0], "x")
		if !<-down {
			t.Error("not down with one in flight")
		}
		_ = b.resolve(had[1], "x")
	})
}

func TestAttemptsAfterDraining(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Attempts, d.Backoff = 2, 0 })})
		a := g.source("a", "said")
		p := a.emit("1")
		for range 3 {
			b := g.attach("b", 1)
			b.one(t)
			b.Close(&wire.Error{Code: wire.Unavailable, Reason: wire.ReasonDraining})
		}
		b := g.attach("b", 2)
		_ = b.fail(b.one(t), wire.Unavailable, true)
		a.want(p, "accepted")
		_ = b.fail(b.one(t), wire.Unavailable, true)
		if e := a.error(p); e.Code != wire.Unavailable {
			t.Error(e)
		}
	})
}

func TestStop(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b")})
		a := g.source("a", "said")
		b := g.attach("b", 9)
		p := a.emit("1")
		b.Stop()
		q := a.emit("2")
		b.Credit(5)
		d := b.one(t)
		_ = b.resolve(d, "1")
		a.want(p, "= 1")
		a.want(q, "accepted")
	})
}

func TestForget(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", overflow("block", 1)), routeTo("s", "c")})
		a := g.source("a", "said")
		c := g.attach("c", 9)
		queued, parked := a.emit("1"), a.emit("2")
		g.r.Swap([]config.Route{routeTo("s", "c")})
		if r := g.ledger("r (old)"); r.Queued != 1 {
			t.Errorf("what waits in a removed route stays: %+v", r)
		}
		g.r.Forget("b", &wire.Error{Code: wire.Unavailable, Message: "removed"})
		g.check()
		for _, p := range []uint64{queued, parked} {
			if e := a.error(p); e.Code != wire.Unavailable || e.Message != "removed" || e.Instance != "b" {
				t.Errorf("%+v", e)
			}
		}
		if len(c.take()) != 2 {
			t.Error("the other route's deliveries are gone")
		}
		g.r.Forget("nobody", nil)
	})
}

func TestForgottenComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b")})
		a := g.source("a", "said")
		b := g.attach("b", 1)
		p := a.emit("1")
		g.r.Forget("b", nil)
		q := a.emit("2")
		if e := a.error(q); e.Code != wire.Unavailable {
			t.Errorf("to an instance that is gone: %v", e)
		}
		b.Close(crash)
		if e := a.error(p); e.Code != wire.Unavailable {
			t.Errorf("in flight when it went: %v", e)
		}
		b = g.attach("b", 1)
		p = a.emit("3")
		_ = b.resolve(b.one(t), "3")
		a.want(p, "= 3")
	})
}

func TestDeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) {
			d.Attempts, d.DeadLetter = 2, &config.Endpoint{Instance: "dead", Name: "do"}
		})})
		a := g.source("a", "said")
		b, dead := g.attach("b", 9), g.attach("dead", 9)
		p := a.emit(`{"n":1}`, subjectOf("s"), within(time.Minute))
		_ = b.fail(b.one(t), wire.Unavailable, true)
		wait(time.Second)
		_ = b.fail(b.one(t), wire.Unavailable, true)
		if got := a.outcome(p); !strings.HasPrefix(got, "unavailable") {
			t.Errorf("the promise is rejected all the same: %s", got)
		}
		d := dead.one(t)
		var l struct {
			Event struct {
				ID, Type, Source, Subject string
				Data                      json.RawMessage
			}
			Route    string
			Error    wire.Error
			Attempts []struct {
				Attempt int
				Error   wire.Error
			}
		}
		if err := json.Unmarshal(d.Input, &l); err != nil {
			t.Fatal(err)
		}
		if l.Route != "r" || l.Error.Instance != "b" || len(l.Attempts) != 2 || l.Attempts[1].Attempt != 2 ||
			l.Event.ID != d.Event.ID.String() || l.Event.Type != "a.said" || l.Event.Source != "n1/a" || l.Event.Subject != "s" || string(l.Event.Data) != `{"n":1}` {
			t.Errorf("the letter: %s", d.Input)
		}
		if !d.HasInput || d.Event.Deadline != 0 {
			t.Errorf("delivered %+v", d)
		}
		if c := g.ledger("r").Counts; c.Dead != 1 || c.Rejected != 0 {
			t.Errorf("%+v", c)
		}
		for n := range 2 { // a letter that fails is lost, and makes no letter
			_ = dead.fail(d, wire.Unavailable, true)
			wait(time.Second)
			if got := dead.take(); len(got) != 1-n {
				t.Fatalf("%d deliveries of the letter", len(got))
			} else if n == 0 {
				d = got[0]
			}
		}
		if c := g.ledger("r (dead letters)").Counts; c.Accepted != 1 || c.Rejected != 1 {
			t.Errorf("%+v", c)
		}
		if c, _ := g.r.Counts(); c.Accepted != 1 || c.Rejected != 1 {
			t.Errorf("the letter is no event: %+v", c)
		}
	})
}

func TestAwait(t *testing.T) {
	none := func(d *config.Delivery) { d.Await = false }
	for name, c := range map[string]struct {
		routes []config.Route
		steps  string // which instance settles in turn; upper case fails
		want   []string
	}{
		"no await":           {[]config.Route{routeTo("r", "b", none)}, "b", []string{"= ", "= "}},
		"first in config":    {[]config.Route{routeTo("r", "b"), routeTo("s", "c")}, "cb", []string{"accepted", "accepted", "= b"}},
		"first awaited":      {[]config.Route{routeTo("r", "b", none), routeTo("s", "c")}, "bc", []string{"accepted", "accepted", "= c"}},
		"awaited only":       {[]config.Route{routeTo("r", "b", none), routeTo("s", "c")}, "c", []string{"accepted", "= c"}},
		"one rejected":       {[]config.Route{routeTo("r", "b"), routeTo("s", "c")}, "Cb", []string{"accepted", "aborted aborted: it failed (c)", "aborted aborted: it failed (c)"}},
		"others may fail":    {[]config.Route{routeTo("r", "b", none), routeTo("s", "c")}, "Bc", []string{"accepted", "accepted", "= c"}},
		"late but one value": {[]config.Route{routeTo("r", "b"), routeTo("s", "c")}, "bc", []string{"accepted", "accepted", "= b"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *rig) {
				g.r.Swap(c.routes)
				a := g.source("a", "said")
				p := a.emit("1")
				at := map[string]*instance{"b": g.attach("b", 9), "c": g.attach("c", 9)}
				a.want(p, c.want[0])
				for n, s := range strings.Split(c.steps, "") {
					i := at[strings.ToLower(s)]
					if d := i.one(t); s == strings.ToLower(s) {
						_ = i.resolve(d, s)
					} else {
						_ = i.fail(d, wire.Aborted, false)
					}
					a.want(p, c.want[n+1])
					g.check()
				}
			})
		})
	}
}

func TestOutletThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b")})
		a := g.source("a", "said")
		b := g.attach("b", 5)
		b.err = fmt.Errorf("lane: %w", wire.ErrTooLarge)
		if got := a.outcome(a.emit("big")); !strings.HasPrefix(got, "invalid_argument") {
			t.Errorf("too large for the lane: %s", got)
		}
		if _, credit := b.InFlight(); credit != 5 {
			t.Errorf("%d credit", credit)
		}
		b.err = wire.ErrClosed
		p, q := a.emit("1"), a.emit("2")
		if n, _ := b.InFlight(); n != 1 {
			t.Errorf("%d were handed to a lane that is closed", n)
		}
		b.Close(crash)
		b = g.attach("b", 5)
		for _, d := range b.take() {
			_ = b.resolve(d, "1")
		}
		a.want(p, "= 1")
		a.want(q, "= 1")
	})
}

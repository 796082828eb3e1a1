package route

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/carrier"
	"github.com/pluginhost/host/sdk/wire"
)

func (i *instance) detach(t testing.TB, d wire.Deliver) string {
	t.Helper()
	token, err := i.Detach(d.Delivery, d.Attempt)
	if err != nil || token == "" {
		t.Fatalf("detach: %q, %v", token, err)
	}
	return token
}

// redeem settles by token and returns the reason why that was not taken.
func (g *rig) redeem(token, value string, failed *wire.Error) string {
	err := g.r.Redeem("other", "1.0.0", &wire.Settle{Token: token, Value: []byte(value), Err: failed})
	if err == nil {
		return ""
	}
	return err.Reason
}

// A detached delivery outlives the instance that detached it, is settled once
// by whoever has the token, and every other token is refused in its own way.
func TestDetach(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Concurrency = 1 })})
		b := g.attach("b", 1)
		a := g.source("a", "said")
		p := a.emit("1")
		d := b.one(t)
		token := b.detach(t, d)
		if _, err := b.Detach(d.Delivery, d.Attempt); err == nil || err.Reason != wire.ReasonAlreadySettled {
			t.Errorf("detached twice: %v", err)
		}
		if err := b.resolve(d, "by number"); err == nil {
			t.Error("a detached delivery was settled by its number")
		}
		l := g.ledger("r")
		if l.Pending != 1 || l.Detached != 1 || l.InFlight != 0 {
			t.Errorf("detached: %+v", l)
		}
		// It needs neither credit nor concurrency of the route.
		b.Credit(1)
		second := a.emit("2")
		if err := b.resolve(b.one(t), "2"); err != nil {
			t.Error(err)
		}
		a.want(second, "= 2")
		b.Close(crash)
		g.check()
		wait(10 * time.Second)
		a.want(p, "accepted")
		if got := g.redeem("forged", "1", nil); got != wire.ReasonUnknownToken {
			t.Errorf("a forged token: %q", got)
		}
		if got := g.redeem(token, `"yes"`, nil); got != "" {
			t.Errorf("the token: %q", got)
		}
		a.want(p, `= "yes"`)
		if got := g.redeem(token, `"no"`, nil); got != wire.ReasonAlreadySettled {
			t.Errorf("the token again: %q", got)
		}
		a.want(p, `= "yes"`)
		if l := g.ledger("r"); l.Pending != 0 || l.Resolved != 2 {
			t.Errorf("at the end: %+v", l)
		}
	})
}

// The deadline of a detached delivery is that of its attempt: then it is given
// up, its token is stale, and the next attempt makes another.
func TestDetachedAttemptEnds(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) {
			d.Timeout, d.Attempts, d.Backoff = time.Minute, 2, 0
		})})
		b := g.attach("b", 9)
		a := g.source("a", "said")
		p := a.emit("1")
		first := b.detach(t, b.one(t))
		wait(time.Minute)
		second := b.detach(t, b.one(t))
		if got := g.redeem(first, "1", nil); got != wire.ReasonStaleAttempt {
			t.Errorf("the token of attempt 1: %q", got)
		}
		a.want(p, "accepted")
		wait(time.Minute)
		if e := a.error(p); e.Code != wire.DeadlineExceeded || !strings.Contains(e.Message, "b.do detached") {
			t.Errorf("%v", e)
		}
		if got := g.redeem(second, "1", nil); got != wire.ReasonStaleAttempt {
			t.Errorf("the token of attempt 2: %q", got)
		}
	})
}

// A delivery without any limit does not stay for ever.
func TestDetachedIsBoundedInTime(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Timeout, d.Attempts = 0, 1 })})
		b := g.attach("b", 9)
		a := g.source("a", "said")
		p := a.emit("1")
		b.detach(t, b.one(t))
		wait(carrier.Longest - time.Second)
		a.want(p, "accepted")
		wait(time.Second)
		if e := a.error(p); e.Code != wire.DeadlineExceeded {
			t.Errorf("%v", e)
		}
	})
}

func TestDetachedAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Queue = 2 * carrier.MaxDetached })})
		b := g.attach("b", carrier.MaxDetached+1)
		a := g.source("a", "said")
		for range carrier.MaxDetached + 1 {
			a.emit("1")
		}
		got := b.take()
		for _, d := range got[:carrier.MaxDetached] {
			b.detach(t, d)
		}
		last := got[carrier.MaxDetached]
		if _, err := b.Detach(last.Delivery, last.Attempt); err == nil || err.Code != wire.ResourceExhausted {
			t.Errorf("one more than may be: %v", err)
		}
		if err := b.resolve(last, ""); err != nil { // it is the handler's still
			t.Error(err)
		}
	})
}

// A retryable error by token is one more failed attempt; the subject keeps its
// turn while its delivery is detached.
func TestRedeemWithAnError(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Order, d.Backoff = "subject", 0 })})
		b := g.attach("b", 9)
		a := g.source("a", "said")
		p, q := a.emit("1", subjectOf("s")), a.emit("2", subjectOf("s"))
		token := b.detach(t, b.one(t))
		if n := len(b.take()); n != 0 {
			t.Errorf("%d deliveries passed by the one of their subject", n)
		}
		if got := g.redeem(token, "", &wire.Error{Code: wire.Unavailable, Message: "not now", Retryable: true}); got != "" {
			t.Fatal(got)
		}
		d := b.one(t)
		if d.Attempt != 2 || string(d.Event.Data) != "1" {
			t.Errorf("after the failure: %+v", d)
		}
		if got := g.redeem(b.detach(t, d), "", &wire.Error{Code: wire.PermissionDenied, Message: "never"}); got != "" {
			t.Fatal(got)
		}
		if e := a.error(p); e.Code != wire.PermissionDenied || e.Instance != "other" {
			t.Errorf("%+v", e)
		}
		_ = b.resolve(b.one(t), "2")
		a.want(q, "= 2")
	})
}

// What an emitter withdraws ends wherever it is, and the handler is told.
func TestWithdraw(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{
			routeTo("r", "b", func(d *config.Delivery) {
				d.Queue, d.DeadLetter = 1, &config.Endpoint{Instance: "dead", Name: "letter"}
			}),
			routeTo("s", "c", func(d *config.Delivery) { d.Await = false }),
		})
		b := g.attach("b", 2)
		c := g.attach("c", 9)
		a := g.source("a", "said")
		flying, apart, queued, unaccepted := a.emit("1"), a.emit("2"), a.emit("3"), a.emit("4")
		got := b.take()
		token := b.detach(t, got[1])
		for _, p := range []uint64{unaccepted, flying, apart, queued} {
			g.r.Withdraw(&a.Source, p)
			if e := a.error(p); e.Code != wire.Canceled || e.Reason != wire.ReasonWithdrawn {
				t.Errorf("promise %d: %v", p, e)
			}
			g.check()
		}
		if want := fmt.Sprintf("%d#1 2", got[0].Delivery); len(b.cancelled) != 1 || b.cancelled[0]+" 2" != want {
			t.Errorf("cancelled %v", b.cancelled)
		}
		if got := g.redeem(token, "", nil); got != wire.ReasonStaleAttempt {
			t.Errorf("the token of a withdrawn delivery: %q", got)
		}
		if l := g.ledger("r"); l.Rejected != 3 || l.Pending != 0 || l.Dead != 0 { // the last was in no ledger of its route
			t.Errorf("%+v", l)
		}
		if n := len(c.take()); n != 4 {
			t.Errorf("%d deliveries on the route that nobody waits for, want 4: they go on", n)
		}
		g.r.Withdraw(&a.Source, flying) // settled already
		g.r.Withdraw(&a.Source, 999)    // never was
		a.want(flying, a.outcome(flying))
	})
}

// Once a route rejects the promise, what still works for it is told to stop;
// where that route has a dead letter it is kept there.
func TestRejectionEndsTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{
			routeTo("r", "b"),
			routeTo("s", "c", func(d *config.Delivery) { d.DeadLetter = &config.Endpoint{Instance: "dead", Name: "do"} }),
			routeTo("t", "d", func(d *config.Delivery) { d.Await = false }),
		})
		b, c, d := g.attach("b", 9), g.attach("c", 9), g.attach("d", 9)
		letters := g.attach("dead", 9)
		a := g.source("a", "said")
		p := a.emit("1")
		work := c.one(t)
		if err := b.fail(b.one(t), wire.Internal, false); err != nil {
			t.Fatal(err)
		}
		if e := a.error(p); e.Code != wire.Internal {
			t.Errorf("%v", e)
		}
		if len(c.cancelled) != 1 {
			t.Errorf("cancelled at c: %v", c.cancelled)
		}
		if err := c.resolve(work, "too late"); err == nil {
			t.Error("the answer of a cancelled delivery was taken")
		}
		if l := g.ledger("s"); l.Dead != 1 || len(l.Reasons) != 1 || l.Reasons[0].Reason != wire.ReasonRejected {
			t.Errorf("%+v", l)
		}
		if !strings.Contains(string(letters.one(t).Input), "route r rejected") {
			t.Error("the letter does not say why")
		}
		if err := d.resolve(d.one(t), ""); err != nil {
			t.Errorf("the route that nobody waits for: %v", err)
		}
	})
}

// A dead delivery is listed, and replayed with all attempts and the same id.
// It counts as accepted once more, and as dead still.
func TestReplay(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) {
			d.Attempts, d.Backoff, d.DeadLetter = 2, 0, &config.Endpoint{Instance: "dead", Name: "do"}
		})})
		b := g.attach("b", 9)
		g.attach("dead", 9)
		a := g.source("a", "said")
		p := a.emit(`{"n":1}`, subjectOf("s"), within(time.Hour))
		_ = b.fail(b.one(t), wire.Unavailable, true)
		first := b.one(t)
		_ = b.fail(first, wire.Unavailable, true)
		dead, _ := g.r.Dead()
		if len(dead) != 1 || dead[0].Event != first.Event.ID || dead[0].Route != "r" || dead[0].Subject != "s" || len(dead[0].Attempts) != 2 {
			t.Fatalf("dead: %+v", dead)
		}
		a.want(p, a.outcome(p))
		all := func(*observe.Dead) bool { return true }
		if done := g.r.Replay(func(*observe.Dead) bool { return false }); len(done) != 0 {
			t.Errorf("replayed what was not asked for: %+v", done)
		}
		wait(2 * time.Hour) // its deadline has passed
		if done := g.r.Replay(all); len(done) != 1 || done[0].Err != nil {
			t.Fatalf("replay: %+v", done)
		}
		d := b.one(t)
		if d.Event.ID != first.Event.ID || d.Attempt != 1 || d.Event.Deadline != 0 || string(d.Event.Data) != `{"n":1}` {
			t.Errorf("replayed: %+v", d)
		}
		if l := g.ledger("r"); l.Accepted != 2 || l.Dead != 1 || l.Pending != 1 || l.Replayed != 1 {
			t.Errorf("during the replay: %+v", l)
		}
		_ = b.resolve(d, "")
		if l := g.ledger("r"); l.Resolved != 1 || l.Dead != 1 {
			t.Errorf("after the replay: %+v", l)
		}
		if c, _ := g.r.Counts(); c.Accepted != 1 || c.Rejected != 1 {
			t.Errorf("events: %+v", c)
		}
		if dead, _ := g.r.Dead(); len(dead) != 0 {
			t.Errorf("still dead: %+v", dead)
		}
	})
}

// Of two replays of one dead delivery at once one wins: the other has seen it
// dead, too, and is told that it is not any more.
func TestReplayTwiceAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) {
			d.Attempts, d.DeadLetter = 1, &config.Endpoint{Instance: "dead", Name: "do"}
		})})
		b := g.attach("b", 9)
		g.attach("dead", 9)
		a := g.source("a", "said")
		a.emit("1")
		_ = b.fail(b.one(t), wire.Internal, false)
		var both sync.WaitGroup // have looked
		both.Add(2)
		answers := make(chan []observe.Replayed, 2)
		for range 2 {
			go func() {
				answers <- g.r.Replay(func(*observe.Dead) bool {
					both.Done()
					both.Wait()
					return true
				})
			}()
		}
		won, lost := 0, 0
		for range 2 {
			switch done := <-answers; {
			case len(done) != 1:
				t.Fatalf("%+v", done)
			case done[0].Err == nil:
				won++
			case done[0].Err.Reason == wire.ReasonNotDead && done[0].Err.Code == wire.NotFound:
				lost++
			default:
				t.Errorf("%+v", done[0].Err)
			}
		}
		if won != 1 || lost != 1 {
			t.Errorf("%d won, %d lost", won, lost)
		}
		_ = b.resolve(b.one(t), "") // and nothing else came
		if l := g.ledger("r"); l.Accepted != 2 || l.Replayed != 1 || l.Resolved != 1 || l.Dead != 1 {
			t.Errorf("%+v", l)
		}
	})
}

// What cannot be replayed stays, and says why.
func TestReplayThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		r := routeTo("r", "b", func(d *config.Delivery) {
			d.Attempts, d.Queue, d.DeadLetter = 1, 1, &config.Endpoint{Instance: "dead", Name: "do"}
		})
		g.r.Swap([]config.Route{r})
		b := g.attach("b", 1)
		a := g.source("a", "said")
		a.emit("1")
		_ = b.fail(b.one(t), wire.Internal, false)
		all := func(*observe.Dead) bool { return true }
		a.emit("2") // fills the queue
		if done := g.r.Replay(all); done[0].Err == nil || done[0].Err.Reason != wire.ReasonQueueFull {
			t.Errorf("into a full queue: %+v", done)
		}
		g.r.Swap(nil)
		if done := g.r.Replay(all); done[0].Err == nil || done[0].Err.Code != wire.NotFound {
			t.Errorf("without its route: %+v", done)
		}
		if dead, _ := g.r.Dead(); len(dead) != 1 {
			t.Errorf("it was lost: %+v", dead)
		}
	})
}

// Whoever waits is told for what.
func TestWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Queue, d.Order = 3, "subject" })})
		a := g.source("a", "said")
		why := func(n string) string {
			t.Helper()
			w := g.r.Waiting(func(e *wire.Event) bool { return string(e.Data) == n })
			if len(w) != 1 {
				t.Fatalf("event %s: %+v", n, w)
			}
			return w[0].State + ": " + w[0].Why
		}
		a.emit("1", subjectOf("s"))
		want := func(n, text string) {
			t.Helper()
			if got := why(n); !strings.Contains(got, text) {
				t.Errorf("event %s: %q, want %q", n, got, text)
			}
		}
		want("1", "queued: waits for b, which is not running")
		b := g.attach("b", 0)
		want("1", "waits for the first credit of b")
		b.Credit(2)
		wait(3 * time.Second)
		want("1", "in_flight: waits for the answer of b.do since 3s, attempt 1 of 3")
		a.emit("2", subjectOf("s"))
		want("2", `queued: waits for an earlier event of subject "s" on route r`)
		a.emit("3")
		a.emit("4")
		a.emit("5")
		a.emit("6")
		want("4", "queued: waits for credit of b: 2 of 2 in flight")
		want("6", "unaccepted: waits for room in the queue of route r: 3 of 3, which waits for credit of b: 2 of 2 in flight")
		if got := g.r.Blocked()["a"]; !strings.Contains(got, "queue of route r: 3 of 3") {
			t.Errorf("the emitter waits for: %q", got)
		}
		if got := g.ledger("r").Waits; !strings.Contains(got, "2 of 2 in flight") {
			t.Errorf("the route waits for: %q", got)
		}
		d := b.take()
		b.detach(t, d[0])
		want("1", "detached: was detached by b; waits since")
		_ = b.fail(d[1], wire.Unavailable, true)
		want("3", "for attempt 2 of 3")
	})
}

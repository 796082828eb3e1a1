package route

import (
	"strings"
	"testing"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/sdk/wire"
)

func TestEmitDeliverSettle(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b")})
		b := g.attach("b", 4)
		a := g.source("a", "heard", "said")
		a.g.r.Emit(&a.Source, &wire.Emit{Promise: 9, Type: 1, Event: wire.Event{
			Type: "forged", Source: "forged", Subject: "s", Data: []byte(`{"x":1}`)}})
		a.want(9, "accepted")
		d := b.one(t)
		e := d.Event
		if e.Type != "a.said" || e.Source != "n1/a" || e.Subject != "s" || string(e.Data) != `{"x":1}` {
			t.Errorf("delivered %+v", e)
		}
		if e.ID.IsZero() || e.Correlation != e.ID || !e.Causation.IsZero() || e.Time != time.Now().UnixNano() {
			t.Errorf("fields that host fills in: %+v", e)
		}
		if d.Attempt != 1 || d.Instance != 7 || d.Action != 1 || d.HasInput || d.Deadline != time.Now().Add(30*time.Second).UnixNano() {
			t.Errorf("delivered %+v", d)
		}
		if n, credit := b.InFlight(); n != 1 || credit != 3 {
			t.Errorf("%d in flight, %d credit", n, credit)
		}
		if err := b.resolve(d, `"ok"`); err != nil {
			t.Error(err)
		}
		a.want(9, `= "ok"`)
		if n, credit := b.InFlight(); n != 0 || credit != 3 {
			t.Errorf("%d in flight, %d credit: credit comes from Credit alone", n, credit)
		}
	})
}

func TestRefusals(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b")})
		a := g.source("a", "heard", "said")
		for name, c := range map[string]struct {
			emit wire.Emit
			want string
		}{
			"index":    {wire.Emit{Promise: 1, Type: 2}, "invalid_argument"},
			"size":     {wire.Emit{Promise: 2, Type: 1, Event: wire.Event{Data: make([]byte, wire.MaxEvent+1)}}, "invalid_argument"},
			"unrouted": {wire.Emit{Promise: 3, Type: 0}, "not_found unrouted"},
			"deadline": {wire.Emit{Promise: 4, Type: 1, Event: wire.Event{Deadline: time.Now().Add(-time.Second).UnixNano()}}, "deadline_exceeded"},
		} {
			g.r.Emit(&a.Source, &c.emit)
			if got := a.outcome(c.emit.Promise); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s", name, got)
			}
		}
		if c, _ := g.r.Counts(); c.Accepted != 3 || c.Rejected != 3 { // what names no event is in no ledger
			t.Errorf("%+v", c)
		}
	})
}

func TestLateSettles(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) { d.Backoff = 0 })})
		b := g.attach("b", 9)
		a := g.source("a", "said")
		p := a.emit("1")
		d := b.one(t)
		wait(30 * time.Second) // attempt 1 times out
		second := b.one(t)
		if second.Delivery != d.Delivery || second.Attempt != 2 || len(b.cancelled) != 1 {
			t.Fatalf("second attempt %+v, cancelled %v", second, b.cancelled)
		}
		reason := func(err error) string {
			if e, ok := err.(*wire.Error); ok { //nolint:errorlint // the type is the contract
				return e.Reason
			}
			return "none"
		}
		if got := reason(b.resolve(d, "1")); got != wire.ReasonStaleAttempt {
			t.Errorf("settle of attempt 1: %s", got)
		}
		a.want(p, "accepted")
		if err := b.resolve(second, "2"); err != nil {
			t.Error(err)
		}
		a.want(p, "= 2")
		if got := reason(b.resolve(second, "3")); got != wire.ReasonAlreadySettled {
			t.Errorf("second settle: %s", got)
		}
		if got := reason(b.resolve(wire.Deliver{Delivery: 77, Attempt: 1}, "3")); got != wire.ReasonForged {
			t.Errorf("settle of a delivery that never was: %s", got)
		}
		if c, _ := g.r.Counts(); c.Late != 2 || g.ledger("r").Late != 2 || c.Resolved != 1 {
			t.Errorf("counts %+v", c)
		}
		b.Close(crash)
		if got := reason(b.resolve(second, "3")); got != wire.ReasonStaleAttempt {
			t.Errorf("settle at a closed inbox: %s", got)
		}
	})
}

package route

import (
	"slices"
	"strings"
	"testing"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

func compile(t *testing.T, src string) *config.Expr {
	t.Helper()
	e, diags := config.CompileExpr(src)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return e
}

func TestWhenAndInput(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		r, never := routeTo("r", "b"), routeTo("never", "b")
		r.When, r.Input = compile(t, "event.data.total > 0"), compile(t, "{ twice = event.data.total * 2 }")
		never.When = compile(t, "event.data.total < 0")
		g.r.Swap([]config.Route{r, never})
		a := g.source("a", "said")
		b := g.attach("b", 9)
		p := a.emit(`{"total":12}`)
		d := b.one(t)
		if !d.HasInput || string(d.Input) != `{"twice":24}` || string(d.Event.Data) != `{"total":12}` {
			t.Errorf("%s, %+v", d.Input, d)
		}
		_ = b.resolve(d, "1")
		a.want(p, "= 1")
		if e := a.error(a.emit(`{"total":0}`)); e.Reason != wire.ReasonUnrouted {
			t.Error(e)
		}
		if e := a.error(a.emit(`{}`)); e.Reason != wire.ReasonUnrouted {
			t.Error(e)
		}
	})
}

func TestInputThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		r := routeTo("r", "b", func(d *config.Delivery) { d.DeadLetter = &config.Endpoint{Instance: "dead", Name: "do"} })
		r.Input = compile(t, "{ x = event.data.nothing + 1 }")
		g.r.Swap([]config.Route{r})
		a := g.source("a", "said")
		b, dead := g.attach("b", 9), g.attach("dead", 9)
		if e := a.error(a.emit(`{}`)); e.Code != wire.InvalidArgument || !strings.HasPrefix(e.Message, "input: ") {
			t.Error(e)
		}
		if len(b.take()) != 0 {
			t.Error("it was delivered")
		}
		_ = dead.resolve(dead.one(t), "")
		if c := g.ledger("r").Counts; c.Dead != 1 {
			t.Errorf("%+v", c)
		}
	})
}

// A kept route asks by the expression of the generation in force.
func TestKeptRouteGetsNewExpressions(t *testing.T) {
	bubble(t, func(_ *testing.T, g *rig) {
		r := routeTo("r", "b")
		g.r.Swap([]config.Route{r})
		a := g.source("a", "said")
		p := a.emit("{}")
		r.When = compile(t, "false")
		g.r.Swap([]config.Route{r})
		a.want(p, "accepted")
		if e := a.error(a.emit("{}")); e.Reason != wire.ReasonUnrouted {
			t.Error(e)
		}
		if n := g.r.Queued("b"); n != 1 {
			t.Errorf("%d queued", n)
		}
		steps := []observe.Step{}
		_ = g.rec.Tail(t.Context(), 2, func(e *observe.Entry) bool { return e.Route == "r" }, func(e observe.Entry) error {
			steps = append(steps, e.Step)
			if len(steps) == 2 {
				return errEnough
			}
			return nil
		})
		if !slices.Equal(steps, []observe.Step{observe.Queued, observe.NotMatched}) {
			t.Errorf("steps %v", steps)
		}
	})
}

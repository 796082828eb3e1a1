package match

import (
	"slices"
	"testing"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/sdk/wire"
)

func from(pairs ...string) []config.Endpoint {
	var e []config.Endpoint
	for n := 0; n < len(pairs); n += 2 {
		e = append(e, config.Endpoint{Instance: pairs[n], Name: pairs[n+1]})
	}
	return e
}

func TestLook(t *testing.T) {
	routes := []config.Route{
		{Name: "one", From: from("a", "said")},
		{Name: "two", From: from("b", "said", "a", "heard", "a", "said", "a", "said")},
	}
	table := NewTable(routes, func(n int) string { return routes[n].Name })
	names := func(o Outlook[string]) []string {
		s := []string{o.Type}
		for _, e := range o.Entries {
			s = append(s, e.Route)
		}
		return s
	}
	var c Cache[string]
	v := table.Look(&c, "n", "a", []string{"said", "heard", "nothing"})
	if v.Source != "n/a" || v.Table != table {
		t.Errorf("source %q", v.Source)
	}
	for n, want := range [][]string{{"a.said", "one", "two"}, {"a.heard", "two"}, {"a.nothing"}} {
		if got := names(v.Events[n]); !slices.Equal(got, want) {
			t.Errorf("event %d: %v, want %v", n, got, want)
		}
	}
	if table.Look(&c, "n", "a", nil) != v {
		t.Error("the view was made again")
	}
	next := NewTable[string](nil, nil)
	if w := next.Look(&c, "", "a", []string{"said"}); w == v || w.Source != "a" || len(w.Events[0].Entries) != 0 {
		t.Errorf("after a swap: %+v", w)
	}
}

func TestWithoutExpressions(t *testing.T) {
	e := Entry[string]{}
	if ok, err := e.Asks(&wire.Event{}); !ok || err != nil {
		t.Errorf("asks: %t, %v", ok, err)
	}
	if b, has, err := e.Input(&wire.Event{}); b != nil || has || err != nil {
		t.Errorf("input: %q, %t, %v", b, has, err)
	}
}

func TestExpressions(t *testing.T) {
	compile := func(src string) *config.Expr {
		t.Helper()
		e, diags := config.CompileExpr(src)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		return e
	}
	ev := &wire.Event{Type: "a.said", Data: []byte(`{"total":12,"name":"x"}`)}
	for src, want := range map[string]bool{"event.data.total > 0": true, "event.data.total > 99": false} {
		e := Entry[string]{when: compile(src)}
		if ok, err := e.Asks(ev); ok != want || err != nil {
			t.Errorf("%s: %t, %v", src, ok, err)
		}
	}
	e := Entry[string]{when: compile("event.data.name > 1"), input: compile("{ sum = event.data.total + 1 }")}
	if ok, err := e.Asks(ev); ok || err == nil || err.Code != wire.InvalidArgument {
		t.Errorf("a when that fails: %t, %v", ok, err)
	}
	if b, has, err := e.Input(ev); string(b) != `{"sum":13}` || !has || err != nil {
		t.Errorf("input %s, %t, %v", b, has, err)
	}
	e.input = compile("{ sum = event.data.nothing + 1 }")
	if b, has, err := e.Input(ev); b != nil || !has || err == nil {
		t.Errorf("an input that fails: %s, %t, %v", b, has, err)
	}
}

package expression_test

import (
	"testing"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/sdk/wire"
)

func TestWhy(t *testing.T) {
	for when, want := range map[string]string{
		`event.data.total > 0`:                                                   "event.data.total > 0 is false (event.data.total is 0)",
		`event.data.total >= 0 && event.data.kind == "b"`:                        `event.data.kind == "b" is false (event.data.kind is "a")`,
		`event.data.total > 0 && (event.data.kind == "b" && event.type != null)`: `event.data.total > 0 is false (event.data.total is 0); event.data.kind == "b" is false (event.data.kind is "a")`,
		`event.data.total > 1 || event.data.kind == "b"`:                         `event.data.total > 1 || event.data.kind == "b" is false (event.data.total is 0, event.data.kind is "a")`,
		`event.subject != null`:                                                  "event.subject != null is false (event.subject is null)",
		`event.data.kind == "a"`:                                                 "",
	} {
		x, diags := config.CompileExpr(when)
		if x == nil {
			t.Fatalf("%s: %v", when, diags)
		}
		if got := x.Why(&wire.Event{Type: "a.b", Data: []byte(`{"total":0,"kind":"a","list":[1,2]}`)}); got != want {
			t.Errorf("%s:\n got %s\nwant %s", when, got, want)
		}
	}
	x, _ := config.CompileExpr(`event.data.nothing > 1`)
	got := x.Why(&wire.Event{Data: []byte(`{"total":0}`)})
	if got == "" {
		t.Error("a clause that fails says nothing")
	}
	t.Log(got)
}

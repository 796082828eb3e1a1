package expression

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/expression/glance"
	"github.com/pluginhost/host/sdk/wire"
)

var evalContext = &hcl.EvalContext{Variables: map[string]cty.Value{
	"var": cty.ObjectVal(map[string]cty.Value{
		"region": cty.StringVal("eu"), "limit": cty.NumberIntVal(100), "half": cty.MustParseNumberVal("0.5"),
		"on": cty.True, "none": cty.NullVal(cty.String), "accent": cty.StringVal("é"),
	}),
}}

func compile(tb testing.TB, text string) *Expr {
	tb.Helper()
	e, diags := hclsyntax.ParseExpression([]byte(text), "test.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		return nil
	}
	return Compile(e, evalContext, cty.DynamicPseudoType, diagnostic.NewList())
}

// same holds a glance against the full evaluation.
func same(tb testing.TB, x *Expr, text string, ev *wire.Event) glance.Verdict {
	tb.Helper()
	got := x.glance.Decide(ev)
	want, err := x.evalBool(ev)
	if got != glance.Unsure && (err != nil || (got == glance.Yes) != want) {
		tb.Errorf("%s on %s: at a glance %v; evaluated %v, %v", text, ev.Data, got == glance.Yes, want, err)
	}
	return got
}

func TestGlanceDecides(t *testing.T) {
	ev := &wire.Event{Type: "http.orders.request", Subject: "o-1", Data: []byte(
		` { "id" : "o-1", "total": 124.95, "n": -7, "big": 123456789012345678, "region": "eu", "items": [{"total": 3}, "}"],
		"customer": {"name": "Ada", "vip": true, "address": {"city": "London"}}, "accent": "é", "escaped": "a\"b", "text": "12",
		"e": 1e3, "null": null } `)}
	for text, want := range map[string]glance.Verdict{
		`event.data.total > 100`:                                            glance.Yes,
		`100 >= event.data.total`:                                           glance.No,
		`event.data.total == 124.95`:                                        glance.Yes,
		`event.data.total == 124.950`:                                       glance.Yes,
		`event.data.total < 124.9500000000000001`:                           glance.Unsure, // more digits than it counts
		`event.data.n == -7`:                                                glance.Yes,
		`event.data.n < -var.limit`:                                         glance.No,
		`event.data.total / 2 > 10`:                                         glance.Unsure,
		`event.data.big != 123456789012345678`:                              glance.No,
		`event.data.region == "eu" && event.data.total > var.limit`:         glance.Yes,
		`event.data.region != var.region || event.data.customer.vip`:        glance.Yes,
		`!(event.data.region == "us") && var.on == event.data.customer.vip`: glance.Yes,
		`event.data["customer"].address["city"] == "London"`:                glance.Yes,
		`event.data.customer.vip == false`:                                  glance.No,
		`event.data.customer.name == var.accent`:                            glance.No,
		`event.subject == "o-1"`:                                            glance.Yes,
		`event.type != "http.orders.request"`:                               glance.No,
		`event.source == "x"`:                                               glance.Unsure, // null
		`event.data.accent == "é"`:                                          glance.Unsure,
		`event.data.escaped == "a\"b"`:                                      glance.Unsure,
		`event.data.text == 12`:                                             glance.Unsure,
		`event.data.text > 11`:                                              glance.Unsure,
		`event.data.e > 11`:                                                 glance.Unsure,
		`event.data.null == "x"`:                                            glance.Unsure,
		`event.data.absent == "x"`:                                          glance.Unsure,
		`event.data.customer == "x"`:                                        glance.Unsure,
		`event.data.region == "us" && event.data.absent == "x"`:             glance.Unsure,
		`event.data.items[0].total == 3`:                                    glance.Unsure,
		`length(event.data) > 3`:                                            glance.Unsure,
	} {
		x := compile(t, text)
		if x == nil { // a function that there is not
			continue
		}
		if x.glance == nil {
			if want != glance.Unsure {
				t.Errorf("%s: cannot be decided at a glance", text)
			}
			continue
		}
		if got := same(t, x, text, ev); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

// Whatever the data, a glance says what the full evaluation says, or nothing.
func TestGlanceIsTheEvaluation(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var decided, glances int
	for range 6000 {
		text := condition(r, 3)
		x := compile(t, text)
		if x == nil || x.glance == nil {
			continue
		}
		glances++
		for range 20 {
			ev := &wire.Event{Subject: pick(r, "", "eu", "é"), Type: "t", Data: []byte(orderly(r, 3))}
			if r.IntN(3) == 0 {
				ev.Data = []byte(object(r, 3))
			}
			if r.IntN(4) == 0 {
				ev.Data = spoil(r, ev.Data)
			}
			if same(t, x, text, ev) != glance.Unsure {
				decided++
			}
		}
		if t.Failed() {
			return
		}
	}
	if glances < 1000 || decided < 3000 {
		t.Errorf("%d expressions could be decided, %d events were: the test is too easy", glances, decided)
	}
}

func FuzzGlance(f *testing.F) {
	f.Add(`event.data.a == "eu" && event.data.b > 100`, []byte(`{"a":"eu","b":124.95}`))
	f.Add(`!(event.data.a.b) || event.data.c <= -0.5`, []byte(`{"a":{"b":true},"c":-0.50}`))
	f.Add(`event.data["a"] != "\u00e9"`, []byte(`{"a":"e\u0301","a":1}`))
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		if len(text) > 200 {
			return
		}
		x := compile(t, text)
		if x == nil || x.glance == nil {
			return
		}
		same(t, x, text, &wire.Event{Subject: "s", Data: data})
	})
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func condition(r *rand.Rand, depth int) string {
	if depth > 0 {
		switch r.IntN(5) {
		case 0:
			return "(" + condition(r, depth-1) + ")"
		case 1:
			return "!(" + condition(r, depth-1) + ")"
		case 2, 3:
			return condition(r, depth-1) + pick(r, " && ", " || ") + condition(r, depth-1)
		}
	}
	field := pick(r, "event.data.a", "event.data.b", "event.data.c.a", "event.data.c.c.b", `event.data["a"]`, "event.subject", "event.data.é", "event.data.c")
	constant := pick(r, `"eu"`, `"é"`, `""`, "100", "0", "-1", "0.5", "1.50", "1e2", "true", "false", "null", "var.region", "var.limit", "var.half",
		"var.limit * 2", "-var.half", "var.on", "var.none", `"${var.region}x"`, "event.data.b", "123456789012345678", "0.1234567890123456789")
	if r.IntN(6) == 0 {
		return field
	}
	op := pick(r, "==", "!=", "<", "<=", ">", ">=")
	if r.IntN(2) == 0 {
		return constant + " " + op + " " + field
	}
	return field + " " + op + " " + constant
}

// orderly is an object in which an expression finds what it looks for.
func orderly(r *rand.Rand, depth int) string {
	scalar := func() string {
		return pick(r, `"eu"`, `"us"`, `""`, "100", "-1", "0.5", "1.50", "200", "0", "-0.5", "true", "false", "123456789012345678")
	}
	c := scalar()
	if depth > 1 {
		c = orderly(r, depth-1)
	}
	return fmt.Sprintf(`{"x": [%s, {"a": 1}], "a":%s,"b" : %s, "c":%s}`, object(r, 1), scalar(), scalar(), c)
}

// object has whatever may come, and some that may not.
func object(r *rand.Rand, depth int) string {
	space := func() string { return pick(r, "", "", " ", "\n\t") }
	fields := make([]string, r.IntN(6))
	for i := range fields {
		fields[i] = space() + pick(r, `"a"`, `"b"`, `"c"`, `"d"`, `"é"`, `"\u0061"`) + space() + ":" + space() + value(r, depth-1) + space()
	}
	return space() + "{" + strings.Join(fields, ",") + "}" + space()
}

func value(r *rand.Rand, depth int) string {
	if depth > 0 && r.IntN(3) == 0 {
		if r.IntN(4) == 0 {
			return "[" + value(r, depth-1) + "," + value(r, depth-1) + "]"
		}
		return object(r, depth)
	}
	return pick(r, `"eu"`, `"e\u0301"`, `"é"`, `""`, `"a\"b"`, `"100"`, `"`+strings.Repeat("long ", 9)+`"`, "100", "0", "-0", "-1", "0.5", "0.50", "1.5", "200", "1e2", "100.0",
		"true", "false", "null", "007", "1.", ".5", "--1", "123456789012345678", "1234567890123456789", "0.12345678901234567", "-0.5", "nul", "\"\x01\"")
}

// spoil changes a byte, or takes some away.
func spoil(r *rand.Rand, b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	at := r.IntN(len(b))
	if r.IntN(2) == 0 {
		return b[:at]
	}
	b = slices.Clone(b)
	b[at] = byte(r.IntN(256))
	return b
}

func BenchmarkWhen(b *testing.B) {
	doc := `{"id":"o-48151623","customer":{"name":"Ada Lovelace","mail":"ada@example.org","since":1842},` +
		`"items":[{"sku":"A-1","count":2,"price":12.5},{"sku":"B-77","count":1,"price":99.95}],"region":"eu","note":"` +
		strings.Repeat("x", 153) + `","currency":"EUR","total":124.95}`
	x := compile(b, `event.data.region == "eu" && event.data.total > 100`)
	ev := &wire.Event{Data: []byte(doc)}
	for name, f := range map[string]func(*wire.Event) (bool, error){"glance": x.Bool, "evaluated": x.evalBool} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				if ok, err := f(ev); !ok || err != nil {
					b.Fatal(fmt.Sprint(ok, err))
				}
			}
		})
	}
}

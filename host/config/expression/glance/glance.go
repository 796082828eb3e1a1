// Package glance decides simple conditions over events.
//
// A when mostly compares fields with constants: event.data.total > 100 &&
// event.data.region == "eu". Such an expression is decided on the text of the
// event, without values in between, in a tenth of the time. It is not another
// language: whatever is not plain (a field that is absent or null, an escaped
// string, a number with an exponent, types that differ) is left to the full
// evaluation, and only that makes errors.
package glance

import (
	"math/big"
	"sync"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/expression/field"
	"github.com/pluginhost/host/host/config/expression/scan"
	"github.com/pluginhost/host/sdk/wire"
)

// Verdict is what a glance gives.
type Verdict uint8

// What a glance says. Unsure leaves it to the full evaluation.
const (
	Unsure Verdict = iota
	No
	Yes
)

func verdictOf(b bool) Verdict {
	if b {
		return Yes
	}
	return No
}

// maxLeaves bounds the fields of the data that a glance reads.
const maxLeaves = 8

// Glance decides a simple expression. It may be used from many goroutines.
type Glance struct {
	test   func(*sight) Verdict
	data   *spot     // what it reads of event.data; nil for nothing
	sights sync.Pool // of *sight
}

// sight is what a glance sees of an event.
type sight struct {
	event *wire.Event
	text  [maxLeaves][]byte // of a field as JSON; nil where there is none
	spots [2 * maxLeaves]bool
}

// Decide decides the expression for an event, if it can.
func (g *Glance) Decide(ev *wire.Event) Verdict {
	s := g.sights.Get().(*sight) //nolint:errcheck,forcetypeassert // there is nothing else in it
	s.event = ev
	v := g.look(s)
	*s = sight{}
	g.sights.Put(s)
	return v
}

func (g *Glance) look(s *sight) Verdict {
	ev := s.event
	if g.data != nil {
		if ct := ev.ContentType; ct != "" && ct != "application/json" {
			return Unsure
		}
		rest, ok := g.data.read(ev.Data, 0, s)
		if !ok || len(scan.Space(rest)) > 0 {
			return Unsure
		}
	}
	return g.test(s)
}

// Of compiles an expression to a glance, or returns nil where that cannot be.
// ctx has what the expression sees besides the event.
func Of(e hclsyntax.Expression, ctx *hcl.EvalContext) *Glance {
	c := &glancer{ctx: ctx}
	test := c.condition(e)
	if test == nil {
		return nil
	}
	return &Glance{test: test, data: c.data, sights: sync.Pool{New: func() any { return new(sight) }}}
}

// glancer compiles. A nil function is for what it cannot.
type glancer struct {
	ctx    *hcl.EvalContext
	data   *spot
	leaves int
	spots  int
}

func (c *glancer) condition(e hclsyntax.Expression) func(*sight) Verdict {
	switch e := inside(e).(type) {
	case *hclsyntax.UnaryOpExpr:
		x := c.condition(e.Val)
		if x == nil || e.Op != hclsyntax.OpLogicalNot {
			return nil
		}
		return func(s *sight) Verdict { return [...]Verdict{Unsure, Yes, No}[x(s)] }
	case *hclsyntax.BinaryOpExpr:
		if e.Op == hclsyntax.OpLogicalAnd || e.Op == hclsyntax.OpLogicalOr {
			return c.both(e)
		}
		return c.comparison(e)
	case *hclsyntax.ScopeTraversalExpr:
		leaf, ok := c.leaf(e)
		if !ok || leaf < 0 {
			return nil
		}
		return func(s *sight) Verdict { return truth(s.text[leaf]) }
	}
	return nil
}

// both looks at both sides always: what would be an error on one of them is
// then never overlooked.
func (c *glancer) both(e *hclsyntax.BinaryOpExpr) func(*sight) Verdict {
	l, r := c.condition(e.LHS), c.condition(e.RHS)
	if l == nil || r == nil {
		return nil
	}
	settles := No // the side that decides alone
	if e.Op == hclsyntax.OpLogicalOr {
		settles = Yes
	}
	return func(s *sight) Verdict {
		x, y := l(s), r(s)
		switch {
		case x == Unsure || y == Unsure:
			return Unsure
		case x == settles:
			return x
		}
		return y
	}
}

// orders are the results of a comparison for which an operator holds.
var orders = map[*hclsyntax.Operation]struct{ less, same, more bool }{
	hclsyntax.OpEqual:              {same: true},
	hclsyntax.OpNotEqual:           {less: true, more: true},
	hclsyntax.OpLessThan:           {less: true},
	hclsyntax.OpLessThanOrEqual:    {less: true, same: true},
	hclsyntax.OpGreaterThan:        {more: true},
	hclsyntax.OpGreaterThanOrEqual: {more: true, same: true},
}

// comparison is one of a field with a constant.
func (c *glancer) comparison(e *hclsyntax.BinaryOpExpr) func(*sight) Verdict {
	order, ok := orders[e.Op]
	if !ok {
		return nil
	}
	field, isField := inside(e.LHS).(*hclsyntax.ScopeTraversalExpr)
	constant, known := c.constant(e.RHS)
	if !isField || !known {
		field, isField = inside(e.RHS).(*hclsyntax.ScopeTraversalExpr)
		constant, known = c.constant(e.LHS)
		order.less, order.more = order.more, order.less
	}
	if !isField || !known {
		return nil
	}
	leaf, ok := c.leaf(field)
	if !ok {
		return nil
	}
	alike := order.less == order.more // it tells the same from the rest
	switch constant.Type() {
	case cty.String:
		want := constant.AsString()
		text := func(s *sight) ([]byte, bool) { return plain(s.text[max(leaf, 0)]) }
		if leaf < 0 {
			name := field.Traversal[1].(hcl.TraverseAttr).Name //nolint:errcheck,forcetypeassert // leaf looked
			text = func(s *sight) ([]byte, bool) {             // an empty one is null
				got, ok := ascii([]byte(header(s.event, name)))
				return got, ok && len(got) > 0
			}
		}
		if !alike {
			return nil
		}
		return func(s *sight) Verdict {
			got, ok := text(s)
			if !ok {
				return Unsure
			}
			return verdictOf((string(got) == want) == order.same)
		}
	case cty.Bool:
		if leaf < 0 || !alike {
			return nil
		}
		want := verdictOf(constant.True())
		return func(s *sight) Verdict {
			got := truth(s.text[leaf])
			if got == Unsure {
				return Unsure
			}
			return verdictOf((got == want) == order.same)
		}
	case cty.Number:
		want, ok := exact(constant)
		if leaf < 0 || !ok {
			return nil
		}
		return func(s *sight) Verdict {
			got, ok := parseDecimal(s.text[leaf])
			if !ok {
				return Unsure
			}
			sign, ok := got.compare(want)
			if !ok {
				return Unsure
			}
			return verdictOf(sign < 0 && order.less || sign == 0 && order.same || sign > 0 && order.more)
		}
	}
	return nil
}

// inside takes an expression out of parentheses, and of meters: what a glance
// does is too little to be counted.
func inside(e hclsyntax.Expression) hclsyntax.Expression {
	for {
		switch p := e.(type) {
		case *hclsyntax.ParenthesesExpr:
			e = p.Expression
		case interface{ Unmetered() hclsyntax.Expression }:
			e = p.Unmetered()
		default:
			return e
		}
	}
}

// constant is the value of what neither reads the event nor calls anything.
func (c *glancer) constant(e hclsyntax.Expression) (cty.Value, bool) {
	for _, t := range e.Variables() {
		if t.RootName() == "event" {
			return cty.NilVal, false
		}
	}
	calls := false
	_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		switch n.(type) {
		case *hclsyntax.FunctionCallExpr, *hclsyntax.ForExpr, *hclsyntax.SplatExpr:
			calls = true
		}
		return nil
	})
	if calls {
		return cty.NilVal, false
	}
	v, diags := e.Value(c.ctx)
	if diags.HasErrors() {
		return cty.NilVal, false
	}
	v, _ = v.Unmark()
	return v, v.IsKnown() && !v.IsNull()
}

// leaf gives the place of a field of the data in a sight, or -1 for a field of
// the event itself.
func (c *glancer) leaf(e *hclsyntax.ScopeTraversalExpr) (int, bool) {
	if e.Traversal.RootName() != "event" {
		return 0, false
	}
	path := field.Path(e.Traversal[1:])
	if len(path) != len(e.Traversal)-1 || len(path) == 0 {
		return 0, false
	}
	if path[0] != "data" {
		_, isAttr := e.Traversal[1].(hcl.TraverseAttr)
		return -1, len(path) == 1 && isAttr && header(&wire.Event{Type: "x", Source: "x", Subject: "x", ContentType: "x"}, path[0]) != ""
	}
	if len(path) == 1 {
		return 0, false // the data as a whole
	}
	if c.data == nil {
		c.data = &spot{leaf: -1}
	}
	at := c.data
	for _, name := range path[1:] {
		if _, ok := ascii([]byte(name)); !ok || at.leaf >= 0 || name == "" {
			return 0, false
		}
		next := at.sub(name)
		if next == nil {
			if c.spots == len(sight{}.spots) {
				return 0, false
			}
			next = &spot{name: name, leaf: -1, number: c.spots}
			c.spots++
			at.subs = append(at.subs, next)
		}
		at = next
	}
	switch {
	case len(at.subs) > 0:
		return 0, false // read as a whole, and its fields too
	case at.leaf < 0:
		if c.leaves == maxLeaves {
			return 0, false
		}
		at.leaf = c.leaves
		c.leaves++
	}
	return at.leaf, true
}

// header is a field of an event that is text, or "".
func header(ev *wire.Event, name string) string {
	switch name {
	case "type":
		return ev.Type
	case "source":
		return ev.Source
	case "subject":
		return ev.Subject
	case "content_type":
		return ev.ContentType
	}
	return ""
}

// exact is a constant as a decimal, if it is one.
func exact(v cty.Value) (decimal, bool) {
	text := new(big.Float).Copy(v.AsBigFloat()).Text('f', -1)
	d, ok := parseDecimal([]byte(text))
	if !ok {
		return d, false
	}
	back, err := cty.ParseNumberVal(text)
	return d, err == nil && back.RawEquals(v)
}

package expression

import (
	"reflect"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/function"
)

// Bounds of the work of expressions, in units: a step of a loop, an element of
// a value given to a function, sixteen bytes of a text.
const (
	MaxWork  = 2_000_000 // of a whole configuration
	maxEvent = 500_000   // of one expression for one event
)

// maxForDepth bounds for expressions in each other.
const maxForDepth = 3

// meter counts work down. It is found through the context of an evaluation, so
// that one expression can be evaluated by many goroutines.
type meter struct {
	left  int
	large bool // a value was too large
}

// tooMuchWork ends an evaluation: an error would only be collected by the loop
// that goes on.
type tooMuchWork struct{}

// tooLarge ends one in which a value is too large to be worked on.
type tooLarge struct{}

// weigh charges for a value.
func (m *meter) weigh(v cty.Value) {
	n := function.Weight(v, function.MaxWeight)
	m.charge(n)
	if n >= function.MaxWeight {
		m.large = true
		panic(tooLarge{})
	}
}

func (m *meter) charge(n int) {
	if m.left -= n; m.left < 0 {
		panic(tooMuchWork{})
	}
}

// meterName cannot be written in HCL.
const meterName = "(meter)"

var meterType = cty.Capsule("meter", reflect.TypeFor[meter]())

// under returns a context whose evaluations are counted by m.
func under(m *meter, ctx *hcl.EvalContext) *hcl.EvalContext {
	ctx = ctx.NewChild()
	ctx.Variables = map[string]cty.Value{meterName: cty.CapsuleVal(meterType, m)}
	return ctx
}

func meterOf(ctx *hcl.EvalContext) *meter {
	if v, ok := variable(ctx, meterName); ok {
		return v.EncapsulatedValue().(*meter)
	}
	return nil
}

// metered is a part of an expression that is evaluated often, or whose value
// costs work: the body of a loop, an argument of a function, a part of a text.
//
// It stands there like parentheses, which a walk goes through: what looks for
// variables still finds them.
type metered struct {
	*hclsyntax.ParenthesesExpr
	weigh bool
}

// Value evaluates the part and charges for it.
func (x *metered) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	m := meterOf(ctx)
	if m == nil {
		return x.Expression.Value(ctx)
	}
	m.charge(1)
	v, diags := x.Expression.Value(ctx)
	if x.weigh {
		m.weigh(v)
	}
	return v, diags
}

// Unmetered is the part itself.
func (x *metered) Unmetered() hclsyntax.Expression { return x.Expression }

// install puts meters into an expression; those that are there stay.
func install(e hclsyntax.Expression) (meters int, tooDeep bool) {
	w := &installer{}
	_ = hclsyntax.Walk(e, w)
	return w.meters, w.deepest > maxForDepth
}

type installer struct{ meters, depth, deepest int }

func (w *installer) put(e *hclsyntax.Expression, weigh bool) {
	if *e == nil {
		return
	}
	switch (*e).(type) {
	case *hclsyntax.LiteralValueExpr:
		if weigh {
			return
		}
	case *metered:
		w.meters++
		return
	}
	w.meters++
	*e = &metered{&hclsyntax.ParenthesesExpr{Expression: *e, SrcRange: (*e).Range()}, weigh}
}

// Enter implements hclsyntax.Walker.
func (w *installer) Enter(n hclsyntax.Node) hcl.Diagnostics {
	switch e := n.(type) {
	case *hclsyntax.ForExpr:
		w.depth++
		w.deepest = max(w.deepest, w.depth)
		w.put(&e.ValExpr, false)
		w.put(&e.KeyExpr, false)
		w.put(&e.CondExpr, false)
	case *hclsyntax.SplatExpr:
		w.put(&e.Source, true)
	case *hclsyntax.FunctionCallExpr:
		for i := range e.Args {
			w.put(&e.Args[i], true)
		}
	case *hclsyntax.TemplateExpr:
		if len(e.Parts) > 1 {
			for i := range e.Parts {
				w.put(&e.Parts[i], true)
			}
		}
	case *hclsyntax.TemplateJoinExpr:
		w.put(&e.Tuple, true)
	case *hclsyntax.ConditionalExpr: // makes both results of one type
		w.put(&e.TrueResult, true)
		w.put(&e.FalseResult, true)
	case *hclsyntax.BinaryOpExpr:
		if e.Op != hclsyntax.OpEqual && e.Op != hclsyntax.OpNotEqual || literal(e.LHS) || literal(e.RHS) {
			break // is cheap whatever the operands are
		}
		w.put(&e.LHS, true)
		w.put(&e.RHS, true)
	}
	return nil
}

// Exit implements hclsyntax.Walker.
func (w *installer) Exit(n hclsyntax.Node) hcl.Diagnostics {
	if _, ok := n.(*hclsyntax.ForExpr); ok {
		w.depth--
	}
	return nil
}

func literal(e hclsyntax.Expression) bool {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return true
	case *hclsyntax.TemplateExpr:
		return e.IsStringLiteral()
	}
	return false
}

package expression

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/function"
)

// maxSteps bounds the iterations of for expressions in one evaluation.
const maxSteps = 1_000_000

// maxForDepth bounds for expressions in each other.
const maxForDepth = 3

// Eval evaluates an expression of the configuration. Its problems are told
// here; ok says whether there is a value.
func Eval(e hclsyntax.Expression, ctx *hcl.EvalContext, diags *diagnostic.List) (v cty.Value, ok bool) {
	if !namesExist(e, ctx, diags) || !bounded(e, diags) {
		return cty.DynamicVal, false
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case tooManySteps:
			diags.Problem("Too much work", fmt.Sprintf("The for expressions here take over %d steps.", maxSteps), e.Range().Ptr())
			v, ok = cty.DynamicVal, false
		default:
			panic(r)
		}
	}()
	v, problems := e.Value(ctx)
	diags.HCL(problems)
	if problems.HasErrors() {
		return cty.DynamicVal, false
	}
	if err := function.Bounded(v); err != nil {
		diags.Problem("Too large", err.Error()+".", e.Range().Ptr())
		return cty.DynamicVal, false
	}
	return v, true
}

// namesExist checks what var, local and the like refer to, with suggestions
// that HCL does not give.
func namesExist(e hclsyntax.Expression, ctx *hcl.EvalContext, diags *diagnostic.List) bool {
	ok := true
	for _, t := range e.Variables() {
		root := t.RootName()
		object, known := variable(ctx, root)
		if !known {
			diags.Problem("Unknown name", fmt.Sprintf("There is nothing called %q here.%s", root, diagnostic.Suggest(root, roots(ctx))), t.SourceRange().Ptr())
			ok = false
			continue
		}
		if len(t) < 2 {
			continue
		}
		a, isAttr := t[1].(hcl.TraverseAttr)
		object, _ = object.Unmark()
		if isAttr && object.Type().IsObjectType() && !object.Type().HasAttribute(a.Name) {
			what := map[string]string{"var": "variable", "local": "local value", "event": "field of an event", "each": "field of each"}[root]
			if what == "" {
				what = "instance of " + root
			}
			names := slices.Sorted(maps.Keys(object.Type().AttributeTypes()))
			diags.Problem("Unknown "+what, fmt.Sprintf("There is no %s %q.%s", what, a.Name, diagnostic.Suggest(a.Name, names)), a.SrcRange.Ptr())
			ok = false
		}
	}
	return ok
}

func variable(ctx *hcl.EvalContext, name string) (cty.Value, bool) {
	for ; ctx != nil; ctx = ctx.Parent() {
		if v, ok := ctx.Variables[name]; ok {
			return v, true
		}
	}
	return cty.NilVal, false
}

func roots(ctx *hcl.EvalContext) []string {
	names := map[string]bool{}
	for ; ctx != nil; ctx = ctx.Parent() {
		for n := range ctx.Variables {
			names[n] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// bounded makes the for expressions of e count their steps, and refuses those
// that nest too deep.
func bounded(e hclsyntax.Expression, diags *diagnostic.List) bool {
	w := &forWalker{steps: new(int)}
	_ = hclsyntax.Walk(e, w)
	if w.deepest > maxForDepth {
		diags.Problem("Nested too deep", fmt.Sprintf("For expressions nest at most %d deep.", maxForDepth), e.Range().Ptr())
		return false
	}
	return true
}

type tooManySteps struct{}

// counted is the value expression of a for expression.
type counted struct {
	hclsyntax.Expression
	steps *int
}

// Value counts a step.
func (c counted) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	if *c.steps++; *c.steps > maxSteps {
		panic(tooManySteps{})
	}
	return c.Expression.Value(ctx)
}

type forWalker struct {
	steps          *int
	depth, deepest int
}

// Enter implements hclsyntax.Walker.
func (w *forWalker) Enter(n hclsyntax.Node) hcl.Diagnostics {
	if e, ok := n.(*hclsyntax.ForExpr); ok {
		w.depth++
		w.deepest = max(w.deepest, w.depth)
		if c, ok := e.ValExpr.(counted); ok {
			e.ValExpr = c.Expression
		}
		e.ValExpr = counted{e.ValExpr, w.steps}
	}
	return nil
}

// Exit implements hclsyntax.Walker.
func (w *forWalker) Exit(n hclsyntax.Node) hcl.Diagnostics {
	if _, ok := n.(*hclsyntax.ForExpr); ok {
		w.depth--
	}
	return nil
}

// uncount takes the counting away again: a compiled expression is evaluated by
// many goroutines, over events whose size is bounded.
func uncount(e hclsyntax.Expression) {
	_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		if x, ok := n.(*hclsyntax.ForExpr); ok {
			if c, ok := x.ValExpr.(counted); ok {
				x.ValExpr = c.Expression
			}
		}
		return nil
	})
}

package variable

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/expression"
	"github.com/pluginhost/host/host/config/reference"
	"github.com/pluginhost/host/host/config/syntax"
)

// Locals evaluates the lines of locals blocks, those that others refer to first.
// Context makes what an expression sees of the locals that are known.
func Locals(blocks []*hclsyntax.Block, context func(map[string]cty.Value) *hcl.EvalContext, diags *diagnostic.List) map[string]cty.Value {
	attrs := map[string]*hclsyntax.Attribute{}
	var names []string
	for _, b := range blocks {
		for _, a := range syntax.SortedAttrs(b.Body) {
			if other, twice := attrs[a.Name]; twice {
				diags.Problem("Defined twice", fmt.Sprintf("local.%s is defined already at %s:%d.", a.Name, other.NameRange.Filename, other.NameRange.Start.Line), a.NameRange.Ptr())
				continue
			}
			attrs[a.Name] = a
			names = append(names, a.Name)
		}
		for _, x := range b.Body.Blocks {
			diags.Problem("A block among locals", "locals has lines of the form name = value only.", x.TypeRange.Ptr())
		}
	}
	refs := func(name string) []string {
		var to []string
		for _, t := range attrs[name].Expr.Variables() {
			if t.RootName() == "local" && len(t) > 1 {
				if a, ok := t[1].(hcl.TraverseAttr); ok && attrs[a.Name] != nil {
					to = append(to, a.Name)
				}
			}
		}
		return to
	}
	values := map[string]cty.Value{}
	for _, name := range names { // those that are wrong are not known
		values[name] = cty.DynamicVal
	}
	// A local sees those that it refers to, and all where it refers to one that
	// is not there, for a suggestion.
	seen := func(name string) map[string]cty.Value {
		some := map[string]cty.Value{}
		for _, t := range attrs[name].Expr.Variables() {
			if t.RootName() != "local" {
				continue
			}
			if len(t) < 2 {
				return values
			}
			a, ok := t[1].(hcl.TraverseAttr)
			if !ok || attrs[a.Name] == nil {
				return values
			}
			some[a.Name] = values[a.Name]
		}
		return some
	}
	order, cycles := reference.Sort(names, refs)
	for _, cycle := range cycles {
		diags.Problem("Locals refer to each other in a circle", strings.Join(cycle, " → ")+".", attrs[cycle[0]].NameRange.Ptr())
	}
	for _, name := range order {
		if v, ok := expression.Eval(attrs[name].Expr, context(seen(name)), diags); ok {
			values[name] = v
		}
	}
	return values
}

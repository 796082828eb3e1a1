package expression

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyfunction "github.com/zclconf/go-cty/cty/function"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/function"
)

// Eval evaluates an expression of the configuration. Its problems are told
// here; ok says whether there is a value.
func Eval(e hclsyntax.Expression, ctx *hcl.EvalContext, diags *diagnostic.List) (v cty.Value, ok bool) {
	if !namesExist(e, ctx, diags) {
		return cty.DynamicVal, false
	}
	if _, tooDeep := install(e); tooDeep {
		diags.Problem("Nested too deep", fmt.Sprintf("For expressions nest at most %d deep.", maxForDepth), e.Range().Ptr())
		return cty.DynamicVal, false
	}
	m := &meter{left: MaxWork - diags.Work}
	before := m.left
	v, problems := evaluate(e, under(m, ctx), m)
	diags.Work += before - m.left
	if m.left < 0 {
		if before >= 0 { // told once
			diags.Problem("Too much work", fmt.Sprintf("The expressions of a configuration take at most %d steps together, and those are used up here.", MaxWork), e.Range().Ptr())
		}
		return cty.DynamicVal, false
	}
	if m.large {
		diags.Problem("Too large", "A value here cannot be worked with: "+function.ErrTooLarge.Error()+".", e.Range().Ptr())
		return cty.DynamicVal, false
	}
	for _, p := range problems {
		p.Detail = explain(p, e, ctx)
	}
	diags.HCL(problems)
	if problems.HasErrors() {
		return cty.DynamicVal, false
	}
	if err := function.Bounded(v); err != nil {
		diags.Problem("Too large", "This value cannot be used: "+err.Error()+".", e.Range().Ptr())
		return cty.DynamicVal, false
	}
	return v, true
}

// evaluate evaluates until the meter ends it.
func evaluate(e hclsyntax.Expression, ctx *hcl.EvalContext, m *meter) (v cty.Value, diags hcl.Diagnostics) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case tooMuchWork, tooLarge:
			v, diags = cty.DynamicVal, nil
		default: // the libraries are large, and a reload must not end the daemon
			v, diags = cty.DynamicVal, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "This cannot be evaluated",
				Detail: fmt.Sprintf("It is a fault of host, which should say what is wrong here: %v", r), Subject: e.Range().Ptr()}}
		}
	}()
	m.charge(1)
	v, diags = e.Value(ctx)
	if diags.HasErrors() {
		return v, diags
	}
	m.charge(function.Weight(v, function.MaxWeight)) // Bounded says when it is too large
	return v, diags
}

// namesExist checks what var, local and the like refer to, with suggestions
// that HCL does not give: the names, and the attributes of what has a known type.
func namesExist(e hclsyntax.Expression, ctx *hcl.EvalContext, diags *diagnostic.List) bool {
	ok := functionsExist(e, ctx, diags)
	tried := triedIn(e)
	for _, t := range e.Variables() {
		root := t.RootName()
		object, known := variable(ctx, root)
		if !known {
			hint := absent(root, ctx)
			if len(t) == 1 && words[root] == "" && diagnostic.Nearest(root, roots(ctx)) == "" {
				hint = fmt.Sprintf(" A text is written in quotes: %q.", root)
			}
			diags.Problem("Unknown name", fmt.Sprintf("There is nothing called %q here.%s", root, hint), t.SourceRange().Ptr())
			ok = false
			continue
		}
		if len(t) < 2 {
			if words[root] == "" {
				diags.Problem("Which instance?", fmt.Sprintf("%s is a plugin; write %s.NAME for one of its instances.", root, root), t.SourceRange().Ptr())
				ok = false
			}
			continue
		}
		if !attributesExist(t, object.Type(), tried[t.SourceRange()], diags) {
			ok = false
		}
	}
	return ok
}

// elsewhere are functions of other tools that are called something else here, or
// are left out for a reason.
var elsewhere = map[string]string{
	"sensitive": "secret() marks a value.", "nonsensitive": "nonsecret() takes the mark away.", "getenv": "It is called env().",
	"timestamp":     "A configuration means the same at each look; the time of an event is event.time.",
	"plantimestamp": "A configuration means the same at each look; the time of an event is event.time.",
	"uuid":          "A configuration means the same at each look; an event has event.id.",
	"bcrypt":        "A configuration means the same at each look, and its salt would not.",
	"templatefile":  "Write the text as a heredoc, or read it with file().",
	"fileexists":    "Write can(file(path)).",
}

// functionsExist checks the names of functions, with suggestions.
func functionsExist(e hclsyntax.Expression, ctx *hcl.EvalContext, diags *diagnostic.List) bool {
	known := map[string]ctyfunction.Function{}
	for ; ctx != nil && len(known) == 0; ctx = ctx.Parent() {
		known = ctx.Functions
	}
	ok := true
	_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		call, isCall := n.(*hclsyntax.FunctionCallExpr)
		if !isCall {
			return nil
		}
		if _, exists := known[call.Name]; !exists {
			hint := diagnostic.Suggest(call.Name, slices.Sorted(maps.Keys(known)))
			if why := elsewhere[call.Name]; why != "" {
				hint = " " + why
			}
			diags.Problem("Unknown function", fmt.Sprintf("There is no function %s().%s", call.Name, hint), call.NameRange.Ptr())
			ok = false
		}
		return nil
	})
	return ok
}

// words say what the names behind a root are.
var words = map[string]string{"var": "variable", "local": "local value", "event": "field of an event", "each": "field of each"}

// attributesExist follows a traversal through a type. What stands in try() or
// can() may be wrong behind its name.
func attributesExist(t hcl.Traversal, typ cty.Type, tried bool, diags *diagnostic.List) bool {
	for i, step := range t[1:] {
		var name string
		var at hcl.Range
		switch s := step.(type) {
		case hcl.TraverseAttr:
			name, at = s.Name, s.SrcRange
		case hcl.TraverseIndex:
			if k := s.Key; k.Type() == cty.String && k.IsKnown() && !k.IsNull() {
				name, at = k.AsString(), s.SrcRange
			}
		}
		switch {
		case typ.IsObjectType() && name != "":
			if typ.HasAttribute(name) {
				typ = typ.AttributeType(name)
				continue
			}
			if i > 0 && tried {
				return true
			}
			names := slices.Sorted(maps.Keys(typ.AttributeTypes()))
			if i == 0 {
				what := words[t.RootName()]
				if what == "" {
					what = "instance of " + t.RootName()
				}
				diags.Problem("Unknown "+what, fmt.Sprintf("There is no %s %q.%s", what, name, diagnostic.Suggest(name, names)), at.Ptr())
			} else {
				diags.Problem("Unknown attribute", fmt.Sprintf("%s has no attribute %q.%s", written(t[:i+1]), name, diagnostic.Suggest(name, names)), at.Ptr())
			}
			return false
		case typ.IsMapType() && name != "", typ.IsListType() && name == "":
			typ = typ.ElementType()
		default:
			return true // HCL says what is wrong, when something is
		}
	}
	return true
}

// written is a traversal as it is written.
func written(t hcl.Traversal) string {
	s := t.RootName()
	for _, step := range t[1:] {
		switch x := step.(type) {
		case hcl.TraverseAttr:
			s += "." + x.Name
		case hcl.TraverseIndex:
			if x.Key.Type() == cty.String {
				s += fmt.Sprintf("[%q]", x.Key.AsString())
			} else {
				s += "[…]"
			}
		}
	}
	return s
}

// triedIn returns where the variables stand that try() and can() look after.
func triedIn(e hclsyntax.Expression) map[hcl.Range]bool {
	var at map[hcl.Range]bool
	_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok && (call.Name == "try" || call.Name == "can") {
			if at == nil {
				at = map[hcl.Range]bool{}
			}
			for _, a := range call.Args {
				for _, t := range a.Variables() {
					at[t.SourceRange()] = true
				}
			}
		}
		return nil
	})
	return at
}

// absent says where a name is there that is not here, or suggests another.
func absent(root string, ctx *hcl.EvalContext) string {
	switch root {
	case "event":
		return " The event is there in when and input of a route only."
	case "each":
		return " It is there in a plugin block with for_each only."
	case "var":
		return " A default and a file of values cannot refer to variables; use locals."
	case "local":
		return " Locals are evaluated later than this; use a variable."
	}
	return diagnostic.Suggest(root, roots(ctx))
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
	delete(names, meterName)
	return slices.Sorted(maps.Keys(names))
}

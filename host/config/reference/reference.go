// Package reference reads references to instances, and to their events and
// actions, as they are written: plugin.name, plugin.name["key"].member,
// plugin.name[*].member.
package reference

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/expression"
)

// Endpoint is one event or action of an instance.
type Endpoint struct {
	Instance string           `json:"instance"` // address, or "host" for the host's own events
	Name     string           `json:"name"`
	Range    diagnostic.Range `json:"-"`
}

// Ref is plugin.name, plugin.name[key] or plugin.name[*], with what follows.
type Ref struct {
	Plugin, Name string
	Key          string
	Keyed, Every bool
	Member       []string // request; reload, committed
	At, MemberAt hcl.Range
}

// Group is the address without the key.
func (r Ref) Group() string { return r.Plugin + "." + r.Name }

// Address returns the instance's address.
func (r Ref) Address() string {
	if r.Keyed {
		return Address(r.Plugin, r.Name, r.Key)
	}
	return r.Group()
}

// Address is that of one instance of a block with for_each.
func Address(plugin, name, key string) string {
	return fmt.Sprintf("%s.%s[%q]", plugin, name, key)
}

// Parse reads a reference. Its key may be any expression
// that is known when the configuration is read.
func Parse(e hclsyntax.Expression, ctx *hcl.EvalContext, diags *diagnostic.List) (r Ref, ok bool) {
	r.At = e.Range()
	fail := func() (Ref, bool) {
		if t, ok := e.(*hclsyntax.TemplateExpr); ok && t.IsStringLiteral() {
			diags.Problem("Not a reference", "References are written without quotes: plugin.name, or plugin.name[key] for one of for_each, followed by the event or action.", e.Range().Ptr())
			return r, false
		}
		diags.Problem("Not a reference", "Write plugin.name, or plugin.name[key] for one of for_each, followed by the event or action.", e.Range().Ptr())
		return r, false
	}
	key := func(e hclsyntax.Expression) bool {
		for _, t := range e.Variables() {
			if t.RootName() == "event" {
				diags.Problem("The key depends on the event", "A route leads to one action, known when the configuration is read. Write a route for each key, with a when that tells them apart.", e.Range().Ptr())
				return false
			}
		}
		v, ok := expression.Eval(e, ctx, diags)
		if !ok {
			return false
		}
		v, err := convert.Convert(v, cty.String)
		if err != nil || v.IsNull() || !v.IsKnown() {
			diags.Problem("Not a key", "A key of for_each is a string.", e.Range().Ptr())
			return false
		}
		v, _ = v.Unmark()
		r.Key, r.Keyed = v.AsString(), true
		return true
	}
	rest := func(t hcl.Traversal) bool {
		for _, step := range t {
			switch s := step.(type) {
			case hcl.TraverseAttr:
				r.Member = append(r.Member, s.Name)
				r.MemberAt = s.SrcRange
			case hcl.TraverseIndex:
				if r.Keyed || len(r.Member) > 0 {
					return false
				}
				k, err := convert.Convert(s.Key, cty.String)
				if err != nil || k.IsNull() || !k.IsKnown() { // exec.bill[null]
					return false
				}
				r.Key, r.Keyed = k.AsString(), true
			default:
				return false
			}
		}
		return true
	}
	base := func(t hcl.Traversal) bool {
		if len(t) < 2 {
			return false
		}
		a, ok := t[1].(hcl.TraverseAttr)
		r.Plugin, r.Name = t.RootName(), a.Name
		return ok && rest(t[2:])
	}
	switch x := e.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		if !base(x.Traversal) {
			return fail()
		}
	case *hclsyntax.IndexExpr: // plugin.name[key]
		s, ok := x.Collection.(*hclsyntax.ScopeTraversalExpr)
		if !ok || !base(s.Traversal) || r.Keyed || len(r.Member) > 0 {
			return fail()
		}
		if !key(x.Key) {
			return r, false
		}
	case *hclsyntax.RelativeTraversalExpr: // plugin.name[key].member
		i, ok := x.Source.(*hclsyntax.IndexExpr)
		if !ok {
			return fail()
		}
		s, ok := i.Collection.(*hclsyntax.ScopeTraversalExpr)
		if !ok || !base(s.Traversal) || r.Keyed || len(r.Member) > 0 {
			return fail()
		}
		if !key(i.Key) {
			return r, false
		}
		if !rest(x.Traversal) {
			return fail()
		}
	case *hclsyntax.SplatExpr: // plugin.name[*].member
		s, ok := x.Source.(*hclsyntax.ScopeTraversalExpr)
		each, ok2 := x.Each.(*hclsyntax.RelativeTraversalExpr)
		if !ok || !ok2 || !base(s.Traversal) || r.Keyed || len(r.Member) > 0 || !rest(each.Traversal) {
			return fail()
		}
		r.Every = true
	default:
		return fail()
	}
	return r, true
}

package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// ref is plugin.name, plugin.name[key] or plugin.name[*], with what follows.
type ref struct {
	plugin, name string
	key          string
	keyed, every bool
	member       []string // request; reload, committed
	at, memberAt hcl.Range
}

func (r ref) group() string { return r.plugin + "." + r.name }

// address returns the instance's address.
func (r ref) address() string {
	if r.keyed {
		return instanceAddress(r.plugin, r.name, r.key)
	}
	return r.group()
}

func instanceAddress(plugin, name, key string) string {
	return fmt.Sprintf("%s.%s[%q]", plugin, name, key)
}

// parseRef reads a reference as it is written. Its key may be any expression
// that is known when the configuration is read.
func (b *builder) parseRef(e hclsyntax.Expression) (r ref, ok bool) {
	r.at = e.Range()
	fail := func() (ref, bool) {
		b.diags.problem("Not a reference", "Write plugin.name, or plugin.name[key] for one of for_each, followed by the event or action.", e.Range().Ptr())
		return r, false
	}
	key := func(e hclsyntax.Expression) bool {
		for _, t := range e.Variables() {
			if t.RootName() == "event" {
				b.diags.problem("The key depends on the event", "A route leads to one action, known when the configuration is read. Write a route for each key, with a when that tells them apart.", e.Range().Ptr())
				return false
			}
		}
		v, ok := b.eval(e, b.ctx)
		if !ok {
			return false
		}
		v, err := convert.Convert(v, cty.String)
		if err != nil || v.IsNull() || !v.IsKnown() {
			b.diags.problem("Not a key", "A key of for_each is a string.", e.Range().Ptr())
			return false
		}
		v, _ = v.Unmark()
		r.key, r.keyed = v.AsString(), true
		return true
	}
	rest := func(t hcl.Traversal) bool {
		for _, step := range t {
			switch s := step.(type) {
			case hcl.TraverseAttr:
				r.member = append(r.member, s.Name)
				r.memberAt = s.SrcRange
			case hcl.TraverseIndex:
				if r.keyed || len(r.member) > 0 {
					return false
				}
				k, err := convert.Convert(s.Key, cty.String)
				if err != nil {
					return false
				}
				r.key, r.keyed = k.AsString(), true
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
		r.plugin, r.name = t.RootName(), a.Name
		return ok && rest(t[2:])
	}
	switch x := e.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		if !base(x.Traversal) {
			return fail()
		}
	case *hclsyntax.IndexExpr: // plugin.name[key]
		s, ok := x.Collection.(*hclsyntax.ScopeTraversalExpr)
		if !ok || !base(s.Traversal) || r.keyed || len(r.member) > 0 {
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
		if !ok || !base(s.Traversal) || r.keyed || len(r.member) > 0 {
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
		if !ok || !ok2 || !base(s.Traversal) || r.keyed || len(r.member) > 0 || !rest(each.Traversal) {
			return fail()
		}
		r.every = true
	default:
		return fail()
	}
	return r, true
}

// find checks that the instance of a reference exists, with suggestions.
func (b *builder) find(r ref) (*group, bool) {
	g := b.groups[r.group()]
	if g == nil {
		var names []string
		plugins := map[string]bool{}
		for _, g := range b.groups {
			plugins[g.plugin] = true
			if g.plugin == r.plugin {
				names = append(names, g.name)
			}
		}
		slices.Sort(names)
		hint := suggest(r.name, names)
		if len(names) == 0 {
			hint = suggest(r.plugin, slices.Sorted(maps.Keys(plugins)))
		}
		b.diags.problem("Unknown instance", fmt.Sprintf("There is no plugin %q %q.%s", r.plugin, r.name, hint), r.at.Ptr())
		return nil, false
	}
	if r.every {
		return g, true
	}
	switch {
	case g.keyed && !r.keyed:
		b.diags.problem("One of several", fmt.Sprintf("%s has for_each: name one with %s[key], or all as a source with %s[*].", r.group(), r.group(), r.group()), r.at.Ptr())
		return nil, false
	case !g.keyed && r.keyed:
		b.diags.problem("Not one of several", fmt.Sprintf("%s has no for_each: write it without a key.", r.group()), r.at.Ptr())
		return nil, false
	case g.keyed && g.instances != nil && !slices.ContainsFunc(g.instances, func(i *Instance) bool { return i.Key == r.key }):
		var keys []string
		for _, i := range g.instances {
			keys = append(keys, i.Key)
		}
		b.diags.problem("Unknown key", fmt.Sprintf("%s has no key %q.%s", r.group(), r.key, suggest(r.key, keys)), r.at.Ptr())
		return nil, false
	}
	return g, true
}

// groupRefs lists the groups that expressions of a block refer to.
func (b *builder) groupRefs(g *group) []string {
	to := map[string]bool{}
	var visit func(body *hclsyntax.Body)
	visit = func(body *hclsyntax.Body) {
		for _, a := range body.Attributes {
			for _, t := range a.Expr.Variables() {
				if len(t) < 2 {
					continue
				}
				if n, ok := t[1].(hcl.TraverseAttr); ok && b.groups[t.RootName()+"."+n.Name] != nil {
					to[t.RootName()+"."+n.Name] = true
				}
			}
		}
		for _, x := range body.Blocks {
			visit(x.Body)
		}
	}
	visit(g.block.Body)
	return slices.Sorted(maps.Keys(to))
}

func joinMember(member []string) string { return strings.Join(member, ".") }

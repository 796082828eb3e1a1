package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/reference"
)

// find checks that the instance of a reference exists, with suggestions.
func (b *builder) find(r reference.Ref) (*group, bool) {
	g := b.groups[r.Group()]
	if g == nil {
		var names []string
		plugins := map[string]bool{}
		for _, g := range b.groups {
			plugins[g.plugin] = true
			if g.plugin == r.Plugin {
				names = append(names, g.name)
			}
		}
		slices.Sort(names)
		hint := diagnostic.Suggest(r.Name, names)
		if len(names) == 0 {
			hint = diagnostic.Nearest(r.Plugin, slices.Sorted(maps.Keys(plugins)))
			if hint == "" {
				hint = fmt.Sprintf(" Add plugin %q %q { … }.", r.Plugin, r.Name)
			}
		}
		b.diags.Problem("Unknown instance", fmt.Sprintf("There is no plugin %q %q.%s", r.Plugin, r.Name, hint), r.At.Ptr())
		return nil, false
	}
	if r.Every {
		return g, true
	}
	switch {
	case g.keyed && !r.Keyed:
		b.diags.Problem("One of several", fmt.Sprintf("%s has for_each: name one with %s[key], or all as a source with %s[*].", r.Group(), r.Group(), r.Group()), r.At.Ptr())
		return nil, false
	case !g.keyed && r.Keyed:
		b.diags.Problem("Not one of several", fmt.Sprintf("%s has no for_each: write it without a key.", r.Group()), r.At.Ptr())
		return nil, false
	case g.keyed && g.instances != nil && !slices.ContainsFunc(g.instances, func(i *Instance) bool { return i.Key == r.Key }):
		var keys []string
		for _, i := range g.instances {
			keys = append(keys, i.Key)
		}
		b.diags.Problem("Unknown key", fmt.Sprintf("%s has no key %q.%s", r.Group(), r.Key, diagnostic.Suggest(r.Key, keys)), r.At.Ptr())
		return nil, false
	}
	return g, true
}

// groupRefs lists the groups that expressions of a block refer to, sorted. stray
// says that there are references to others too, of a plugin that is in use.
func (b *builder) groupRefs(g *group) (refs []string, stray bool) {
	to := map[string]bool{}
	var visit func(body *hclsyntax.Body)
	visit = func(body *hclsyntax.Body) {
		for _, a := range body.Attributes {
			for _, t := range a.Expr.Variables() {
				if len(t) < 2 {
					continue
				}
				name := ""
				switch s := t[1].(type) {
				case hcl.TraverseAttr:
					name = s.Name
				case hcl.TraverseIndex: // exec["bill"]
					if s.Key.Type() == cty.String {
						name = s.Key.AsString()
					}
				}
				if b.groups[t.RootName()+"."+name] != nil {
					to[t.RootName()+"."+name] = true
				} else if b.names[t.RootName()] != nil {
					stray = true
				}
			}
		}
		for _, x := range body.Blocks {
			visit(x.Body)
		}
	}
	visit(g.block.Body)
	return slices.Sorted(maps.Keys(to)), stray
}

func joinMember(member []string) string { return strings.Join(member, ".") }

// instanceRef reads a reference to another instance as its address.
func (b *builder) instanceRef(e hclsyntax.Expression) (cty.Value, bool) {
	r, ok := reference.Parse(e, b.ctx, b.diags)
	if !ok {
		return cty.NilVal, false
	}
	if len(r.Member) > 0 || r.Every {
		b.diags.Problem("Not an instance", "Write plugin.name, or plugin.name[key].", e.Range().Ptr())
		return cty.NilVal, false
	}
	if _, ok := b.find(r); !ok {
		return cty.NilVal, false
	}
	return cty.StringVal(r.Address()), true
}

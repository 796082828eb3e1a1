package config

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/attribute"
	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/expression/field"
	"github.com/pluginhost/host/host/config/process"
	"github.com/pluginhost/host/host/config/reference"
	"github.com/pluginhost/host/host/config/variable"
	"github.com/pluginhost/host/sdk/schema"
)

// maxKey bounds a key of for_each, in bytes.
const maxKey = 128

// evalGroups makes the instances, those that others refer to first.
func (b *builder) evalGroups() {
	names := slices.Sorted(maps.Keys(b.groups))
	order, cycles := reference.Sort(names, func(n string) []string { return b.groups[n].refs })
	for _, cycle := range cycles {
		b.diags.Problem("Instances refer to each other in a circle", strings.Join(cycle, " → ")+". What starts first?", b.groups[cycle[0]].block.DefRange().Ptr())
	}
	done := map[string]bool{}
	for _, n := range order {
		done[n] = true
	}
	// What else is wrong with those in a circle is told as well.
	order = append(order, slices.DeleteFunc(names, func(n string) bool { return done[n] })...)
	total := 0
	for _, n := range order {
		g := b.groups[n]
		if g.kept != nil {
			b.kept[g.block] = g.kept
			g.instances = []*Instance{g.kept.instance}
			total++
			b.show(g, map[string]cty.Value{"": g.kept.shown})
			continue
		}
		said := b.diags.Len()
		ctx := b.refContext(g)
		keys, values, ok := b.forEach(g, ctx)
		if !ok {
			continue
		}
		depends := b.depends(g)
		if total += len(keys); total > maxInstances {
			b.diags.Problem("Too many instances", fmt.Sprintf("A configuration has at most %d instances.", maxInstances), g.block.DefRange().Ptr())
			return
		}
		g.instances = []*Instance{}
		shown := map[string]cty.Value{}
		for i, key := range keys {
			each := ctx
			if g.keyed {
				each = ctx.NewChild()
				each.Variables = map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{"key": cty.StringVal(key), "value": values[i]})}
			}
			in, read := b.instance(g, key, each)
			in.DependsOn = depends
			in.Print = in.print()
			g.instances = append(g.instances, in)
			shown[key] = b.readable(g, in, read)
		}
		if !g.again {
			b.show(g, shown)
			b.remember(g, said, shown[""])
		}
	}
	b.diags.Address = ""
	if c := b.src.Cache; c != nil {
		c.blocks = b.kept
	}
}

// forEach returns the keys of a group, sorted; one empty key without for_each.
func (b *builder) forEach(g *group, ctx *hcl.EvalContext) (keys []string, values []cty.Value, ok bool) {
	a := g.block.Body.Attributes["for_each"]
	if a == nil {
		return []string{""}, []cty.Value{cty.NilVal}, true
	}
	v, ok := b.eval(a.Expr, ctx)
	if !ok {
		return nil, nil, false
	}
	defer func() {
		for _, k := range keys {
			if k == "" || len(k) > maxKey {
				b.diags.Problem("Not a key", fmt.Sprintf("A key of for_each has from 1 to %d bytes; it is part of an address.", maxKey), a.Expr.Range().Ptr())
				keys, values, ok = nil, nil, false
				return
			}
		}
	}()
	v, marks := v.Unmark()
	t := v.Type()
	switch {
	case len(marks) > 0:
		b.diags.Problem("Secret keys", "The keys of for_each are part of addresses, which are shown everywhere: nonsecret() says that they may be.", a.Expr.Range().Ptr())
	case v.IsNull():
		b.diags.Problem("Null keys", "for_each is null; {} makes no instance.", a.Expr.Range().Ptr())
	case !v.IsKnown() && b.diags.Sorted().HasErrors(): // why has been told
	case !v.IsKnown():
		b.diags.Problem("Not known", "The keys of for_each must be known when the configuration is read.", a.Expr.Range().Ptr())
	case t.IsObjectType() || t.IsMapType():
		for it := v.ElementIterator(); it.Next(); {
			k, x := it.Element()
			keys, values = append(keys, k.AsString()), append(values, x)
		}
		ok = true
	case t.IsSetType() && t.ElementType() == cty.String, t.IsTupleType() || t.IsListType():
		seen := map[string]bool{}
		for it := v.ElementIterator(); it.Next(); {
			_, x := it.Element()
			x, _ = x.Unmark()
			if x.Type() != cty.String || x.IsNull() || !x.IsKnown() || seen[x.AsString()] {
				b.diags.Problem("Not keys", "A list for for_each has strings, each once.", a.Expr.Range().Ptr())
				return nil, nil, false
			}
			seen[x.AsString()] = true
			keys, values = append(keys, x.AsString()), append(values, x)
		}
		return keys, values, true
	default:
		b.diags.Problem("Wrong type", "for_each takes a map, or a list of strings.", a.Expr.Range().Ptr())
	}
	return keys, values, ok && len(marks) == 0 && !v.IsNull() && v.IsKnown() && (t.IsObjectType() || t.IsMapType())
}

// refContext sees variables, locals and the instances that a group refers to.
// Of the others it knows the names, for suggestions and so that one which could
// not be evaluated is not blamed on those who use it.
func (b *builder) refContext(g *group) *hcl.EvalContext {
	ctx := b.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{}
	for plugin, names := range b.names {
		if g.stray {
			names = maps.Clone(names)
		} else { // the others are not looked at
			names = map[string]cty.Value{}
		}
		for _, n := range g.refs {
			o := b.groups[n]
			if o.plugin != plugin {
				continue
			}
			names[o.name] = cty.DynamicVal
			if v, ok := b.values[o.plugin][o.name]; ok {
				names[o.name] = v
			}
		}
		ctx.Variables[plugin] = cty.ObjectVal(names)
	}
	return ctx
}

// depends returns the addresses that the instances of a group come after,
// sorted. They share the list.
func (b *builder) depends(g *group) []string {
	to := map[string]bool{}
	for _, n := range g.refs {
		for _, other := range b.groups[n].instances {
			to[other.Address] = true
		}
	}
	b.dependsOn(g, to)
	return slices.Sorted(maps.Keys(to))
}

// instance evaluates one instance. What is wrong is told; the instance is
// returned all the same, so that routes can be checked.
func (b *builder) instance(g *group, key string, ctx *hcl.EvalContext) (in *Instance, read map[string]cty.Value) {
	in = &Instance{Plugin: g.plugin, Name: g.name, Key: key, Address: g.address(), Digest: g.digest, Manifest: g.manifest,
		Range: diagnostic.ToRange(g.block.DefRange()), Attrs: map[string]Range{}}
	if g.keyed {
		in.Address = reference.Address(g.plugin, g.name, key)
	}
	b.diags.Address = in.Address
	defer func() { b.diags.Address = "" }()

	in.Process = b.process(g, ctx)
	for _, x := range g.block.Body.Blocks {
		if a := x.Body.Attributes["user"]; a != nil && x.Type == "process" {
			in.Attrs["process.user"] = diagnostic.ToRange(a.SrcRange)
		}
	}
	attrs := map[string]*hclsyntax.Attribute{}
	for name, a := range g.block.Body.Attributes {
		if name != "for_each" && name != "depends_on" && name != "process" {
			attrs[name] = a
			in.Attrs[name] = diagnostic.ToRange(a.SrcRange)
		}
	}
	if g.manifest == nil {
		return in, nil
	}
	v := &attribute.Reader{Diags: b.diags, Ctx: ctx, Plugin: in.Plugin, Address: in.Address, Range: in.Range, Abs: b.abs, Ref: b.instanceRef}
	config, shown := v.Read(g.manifest.Config, attrs, g.block)
	in.Resources = v.Resources
	in.Config, _ = json.Marshal(config) // plain values cannot fail
	in.Shown, _ = json.Marshal(shown)
	return in, v.Values
}

// print hashes what decides whether an instance changed, here, so that a plan
// of thousands need not look into those that did not. DependsOn is left out:
// it says when to start, not what.
func (in *Instance) print() string {
	h := sha256.New()
	process, _ := json.Marshal(in.Process) // plain values cannot fail
	_, _ = fmt.Fprintf(h, "%s %d %s %s", in.Digest, len(in.Config), in.Config, process)
	for _, r := range in.Resources {
		_, _ = fmt.Fprintf(h, " %+v", r.Listen.Settings)
	}
	return string(h.Sum(nil))
}

// dependsOn reads depends_on.
func (b *builder) dependsOn(g *group, to map[string]bool) {
	a := g.block.Body.Attributes["depends_on"]
	if a == nil {
		return
	}
	list, ok := a.Expr.(*hclsyntax.TupleConsExpr)
	if !ok {
		b.diags.Problem("Wrong type", "depends_on takes a list of instances: depends_on = [exec.bill].", a.Expr.Range().Ptr())
		return
	}
	for _, e := range list.Exprs {
		r, ok := reference.Parse(e, b.ctx, b.diags)
		if !ok {
			continue
		}
		if len(r.Member) > 0 {
			b.diags.Problem("Not an instance", "depends_on takes instances, without event or action.", r.At.Ptr())
			continue
		}
		if !r.Keyed && b.groups[r.Group()] != nil {
			continue // all of a group: groupRefs has them
		}
		if _, ok := b.find(r); ok {
			to[r.Address()] = true
		}
	}
}

// process reads the process block.
func (b *builder) process(g *group, ctx *hcl.EvalContext) Process {
	outer := b.reader(g.block.Body, g.address(), ctx)
	for _, x := range g.block.Body.Blocks {
		if x.Type != "process" {
			hint := "; only process is a block, all else is written as name = value." + diagnostic.Nearest(x.Type, []string{"process"})
			if g.manifest != nil && slices.ContainsFunc(g.manifest.Config, func(f schema.Field) bool { return f.Name == x.Type }) {
				hint = fmt.Sprintf(": it is an attribute, written as %s = { … }.", x.Type)
			}
			b.diags.Problem("Unknown block", fmt.Sprintf("%s has no block %q%s", g.address(), x.Type, hint), x.TypeRange.Ptr())
		}
	}
	return process.Read(outer.Block("process"), b.diags)
}

// readable is what other blocks may read of an instance: its attributes as the
// user wrote them, secrets marked.
func (b *builder) readable(g *group, in *Instance, read map[string]cty.Value) cty.Value {
	m := map[string]cty.Value{"address": cty.StringVal(in.Address)}
	if g.manifest == nil {
		return cty.DynamicVal
	}
	for _, f := range g.manifest.Config {
		if g.block.Body.Attributes[f.Name] == nil {
			m[f.Name] = cty.NullVal(cty.DynamicPseudoType)
			if v, err := field.FromJSON(f.Default); err == nil {
				m[f.Name] = v
			}
			continue
		}
		v, ok := read[f.Name]
		if !ok {
			v = cty.DynamicVal // what is wrong with it has been told
		}
		if f.Type.Kind == schema.Secret {
			v = variable.MarkSecret(v, b.diags)
		}
		m[f.Name] = v
	}
	return cty.ObjectVal(m)
}

// show makes a group readable for those that come after it.
func (b *builder) show(g *group, shown map[string]cty.Value) {
	if b.values[g.plugin] == nil {
		b.values[g.plugin] = map[string]cty.Value{}
	}
	v := shown[""]
	if g.keyed {
		v = cty.ObjectVal(shown)
	}
	b.values[g.plugin][g.name] = v
}

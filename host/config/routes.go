package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/delivery"
	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/expression"
	"github.com/pluginhost/host/host/config/payload"
	"github.com/pluginhost/host/host/config/reference"
	"github.com/pluginhost/host/sdk/schema"
)

// HostEvents are the events of the host itself, written host.NAME.
var HostEvents = []string{"ready", "reload.phase", "reload.committed", "reload.refused", "reload.drained",
	"reload.confirmed", "instance.crashed", "plugin.changed"}

// evalRoutes checks all routes.
func (b *builder) evalRoutes() {
	for _, block := range b.blocks("route") {
		b.diags.Address = "route " + block.Labels[0]
		b.route(block)
	}
	b.diags.Address = ""
}

func (b *builder) route(block *hclsyntax.Block) {
	r := Route{Name: block.Labels[0], Range: diagnostic.ToRange(block.DefRange()), Delivery: delivery.Defaults()}
	in := b.reader(block.Body, "route "+r.Name, b.ctx)
	from, to, when, input := in.Expr("from"), in.Expr("to"), in.Expr("when"), in.Expr("input")
	if from == nil {
		b.diags.Problem("A required attribute is missing", fmt.Sprintf("route %q needs from = plugin.name.event.", r.Name), block.DefRange().Ptr())
	}
	if to == nil {
		b.diags.Problem("A required attribute is missing", fmt.Sprintf("route %q needs to = plugin.name.action.", r.Name), block.DefRange().Ptr())
	}
	data := b.sources(from, &r)
	action := b.target(to, &r.To)
	r.Delivery.Read(in.Block("delivery"), func(e hclsyntax.Expression) (to Endpoint, ok bool) {
		ok = b.target(e, &to) != nil
		return to, ok
	}, b.diags)
	in.Done()

	dataType := cty.DynamicPseudoType
	if len(data) == 1 {
		dataType = payload.Type(data[0].event.Data)
	}
	if when != nil {
		if r.When = expression.Compile(when, b.ctx, dataType, b.diags); r.When != nil {
			b.wantsBool(when, dataType)
		}
	}
	if input != nil {
		r.Input = expression.Compile(input, b.ctx, dataType, b.diags)
	}
	switch {
	case action == nil:
	case input == nil:
		for _, d := range data {
			if err := schema.Compatible(d.event.Data, action.Input); err != nil {
				b.diags.Problem("The action cannot take this event", fmt.Sprintf("%s gives %s, %s takes %s: %s. Write input = { … } to make the one of the other.",
					d.name, d.event.Data, r.To.Instance+"."+r.To.Name, action.Input, err), to.Range().Ptr())
			}
		}
	case r.Input != nil:
		b.wantsInput(input, dataType, action)
	}
	r.Text = b.routeText(&r, when, input)
	b.config.Routes = append(b.config.Routes, r)
}

// emitted is an event that a route takes.
type emitted struct {
	name  string
	event schema.Event
}

// sources reads from: one event or a list of them.
func (b *builder) sources(e hclsyntax.Expression, r *Route) []emitted {
	if e == nil {
		return nil
	}
	list := []hclsyntax.Expression{e}
	if t, ok := e.(*hclsyntax.TupleConsExpr); ok {
		if list = t.Exprs; len(list) == 0 {
			b.diags.Problem("Nothing to route", "from has no event.", e.Range().Ptr())
		}
	}
	var all []emitted
	for _, e := range list {
		x, ok := reference.Parse(e, b.ctx, b.diags)
		if !ok {
			continue
		}
		if x.Plugin == "host" {
			name := joinMember(append([]string{x.Name}, x.Member...))
			if !slices.Contains(HostEvents, name) {
				b.diags.Problem("Unknown event", fmt.Sprintf("The host has no event %q.%s", name, diagnostic.Suggest(name, HostEvents)), e.Range().Ptr())
				continue
			}
			r.From = append(r.From, Endpoint{Instance: "host", Name: name, Range: diagnostic.ToRange(e.Range())})
			all = append(all, emitted{"host." + name, schema.Event{Name: name, Data: schema.Type{Kind: schema.Any}}})
			continue
		}
		g, ok := b.find(x)
		if !ok || g.manifest == nil {
			continue
		}
		name := joinMember(x.Member)
		var names []string
		for _, ev := range g.manifest.Events {
			names = append(names, ev.Name)
		}
		n := slices.Index(names, name)
		if n < 0 {
			b.noMember("event", "emits", g, name, names, x)
			continue
		}
		addresses := []string{x.Address()}
		if x.Every {
			addresses = nil
			for _, in := range g.instances {
				addresses = append(addresses, in.Address)
			}
		}
		for _, a := range addresses {
			r.From = append(r.From, Endpoint{Instance: a, Name: name, Range: diagnostic.ToRange(e.Range())})
		}
		all = append(all, emitted{x.Group() + "." + name, g.manifest.Events[n]})
	}
	return all
}

// target reads a reference to an action.
func (b *builder) target(e hclsyntax.Expression, to *Endpoint) *schema.Action {
	if e == nil {
		return nil
	}
	if _, list := e.(*hclsyntax.TupleConsExpr); list {
		b.diags.Problem("Several actions", "A route leads to one action, written without brackets; write a route for each.", e.Range().Ptr())
		return nil
	}
	x, ok := reference.Parse(e, b.ctx, b.diags)
	if !ok {
		return nil
	}
	if x.Plugin == "host" {
		b.diags.Problem("Not an action", "The host has events and no actions: it can be the from of a route only.", e.Range().Ptr())
		return nil
	}
	if x.Every {
		b.diags.Problem("Several actions", "A route leads to one action; write one for each.", e.Range().Ptr())
		return nil
	}
	g, ok := b.find(x)
	if !ok || g.manifest == nil {
		return nil
	}
	name := joinMember(x.Member)
	var names []string
	for _, a := range g.manifest.Actions {
		names = append(names, a.Name)
	}
	n := slices.Index(names, name)
	if n < 0 {
		b.noMember("action", "has", g, name, names, x)
		return nil
	}
	*to = Endpoint{Instance: x.Address(), Name: name, Range: diagnostic.ToRange(e.Range())}
	return &g.manifest.Actions[n]
}

func (b *builder) noMember(what, verb string, g *group, name string, names []string, x reference.Ref) {
	switch {
	case len(names) == 0:
		b.diags.Problem("Unknown "+what, fmt.Sprintf("The plugin %s %s no %ss.", g.plugin, verb, what), x.At.Ptr())
	case name == "":
		b.diags.Problem("Which "+what+"?", fmt.Sprintf("Write %s.%s, one of: %s.", x.Address(), strings.ToUpper(what), strings.Join(names, ", ")), x.At.Ptr())
	default:
		b.diags.Problem("Unknown "+what, fmt.Sprintf("The plugin %s %s no %s %q.%s", g.plugin, verb, what, name, diagnostic.Suggest(name, names)), x.MemberAt.Ptr())
	}
}

// wantsBool checks that a when can be true or false.
func (b *builder) wantsBool(e hclsyntax.Expression, data cty.Type) {
	ctx := b.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{"event": expression.UnknownEvent(data)}
	v, diags := e.Value(ctx)
	if diags.HasErrors() {
		return
	}
	if t := v.Type(); t != cty.Bool && t != cty.DynamicPseudoType {
		b.diags.Problem("Neither true nor false", fmt.Sprintf("when is a condition; this is %s.", t.FriendlyName()), e.Range().Ptr())
	}
}

// wantsInput checks what an input gives against what the action takes.
func (b *builder) wantsInput(e hclsyntax.Expression, data cty.Type, action *schema.Action) {
	ctx := b.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{"event": expression.UnknownEvent(data)}
	v, diags := e.Value(ctx)
	if diags.HasErrors() {
		return
	}
	payload.Fits(b.diags, v.Type(), action.Input, "input", e)
}

// routeText is the canonical text of a route: equal texts mean equal routes.
// Expressions stand with the values that they take from variables and locals,
// hashed, since those may be secret.
func (b *builder) routeText(r *Route, when, input hclsyntax.Expression) string {
	var s strings.Builder
	for i, f := range r.From {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(f.Instance + "." + f.Name)
	}
	s.WriteString(" → " + r.To.Instance + "." + r.To.Name)
	for _, x := range []struct {
		name string
		e    hclsyntax.Expression
	}{{"when", when}, {"input", input}} {
		if x.e == nil {
			continue
		}
		s.WriteString(" " + x.name + " " + expression.Text(x.e, b.ctx, b.diags.Source(x.e.Range().Filename)))
	}
	s.WriteString(r.Delivery.Text())
	return s.String()
}

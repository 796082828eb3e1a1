package config

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/sdk/schema"
)

// HostEvents are the events of the host itself, written host.NAME.
var HostEvents = []string{"ready", "reload.committed", "reload.refused", "instance.crashed", "plugin.changed"}

var deliveryDefaults = Delivery{Timeout: 30 * time.Second, Attempts: 3, Backoff: 100 * time.Millisecond,
	MaxBackoff: 10 * time.Second, Await: true, Queue: 1024, Overflow: "block"}

// evalRoutes checks all routes.
func (b *builder) evalRoutes() {
	for _, block := range b.blocks("route") {
		b.diags.address = "route " + block.Labels[0]
		b.route(block)
	}
	b.diags.address = ""
}

func (b *builder) route(block *hclsyntax.Block) {
	r := Route{Name: block.Labels[0], Range: toRange(block.DefRange()), Delivery: deliveryDefaults}
	in := b.reader(block.Body, "route "+r.Name, b.ctx)
	from, to, when, input := in.expr("from"), in.expr("to"), in.expr("when"), in.expr("input")
	for name, e := range map[string]hclsyntax.Expression{"from": from, "to": to} {
		if e == nil {
			form := map[string]string{"from": "plugin.name.event", "to": "plugin.name.action"}[name]
			b.diags.problem("A required attribute is missing", fmt.Sprintf("route %q needs %s = %s.", r.Name, name, form), block.DefRange().Ptr())
		}
	}
	data := b.sources(from, &r)
	action := b.target(to, &r.To)
	b.delivery(in, &r)
	in.done()

	dataType := cty.DynamicPseudoType
	if len(data) == 1 {
		dataType = ctyType(data[0].event.Data)
	}
	if when != nil {
		if r.When = b.compile(when, b.ctx, dataType); r.When != nil {
			b.wantsBool(when, dataType)
		}
	}
	if input != nil {
		r.Input = b.compile(input, b.ctx, dataType)
	}
	switch {
	case action == nil:
	case input == nil:
		for _, d := range data {
			if err := schema.Compatible(d.event.Data, action.Input); err != nil {
				b.diags.problem("The action cannot take this event", fmt.Sprintf("%s gives %s, %s takes %s: %s. Write input = { … } to make the one of the other.",
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
			b.diags.problem("Nothing to route", "from has no event.", e.Range().Ptr())
		}
	}
	var all []emitted
	for _, e := range list {
		x, ok := b.parseRef(e)
		if !ok {
			continue
		}
		if x.plugin == "host" {
			name := joinMember(append([]string{x.name}, x.member...))
			if !slices.Contains(HostEvents, name) {
				b.diags.problem("Unknown event", fmt.Sprintf("The host has no event %q.%s", name, suggest(name, HostEvents)), e.Range().Ptr())
				continue
			}
			r.From = append(r.From, Endpoint{Instance: "host", Name: name, Range: toRange(e.Range())})
			all = append(all, emitted{"host." + name, schema.Event{Name: name, Data: schema.Type{Kind: schema.Any}}})
			continue
		}
		g, ok := b.find(x)
		if !ok || g.manifest == nil {
			continue
		}
		name := joinMember(x.member)
		var names []string
		for _, ev := range g.manifest.Events {
			names = append(names, ev.Name)
		}
		n := slices.Index(names, name)
		if n < 0 {
			b.noMember("event", "emits", g, name, names, x)
			continue
		}
		addresses := []string{x.address()}
		if x.every {
			addresses = nil
			for _, in := range g.instances {
				addresses = append(addresses, in.Address)
			}
		}
		for _, a := range addresses {
			r.From = append(r.From, Endpoint{Instance: a, Name: name, Range: toRange(e.Range())})
		}
		all = append(all, emitted{x.group() + "." + name, g.manifest.Events[n]})
	}
	return all
}

// target reads a reference to an action.
func (b *builder) target(e hclsyntax.Expression, to *Endpoint) *schema.Action {
	if e == nil {
		return nil
	}
	x, ok := b.parseRef(e)
	if !ok {
		return nil
	}
	if x.every {
		b.diags.problem("Several actions", "A route leads to one action; write one for each.", e.Range().Ptr())
		return nil
	}
	g, ok := b.find(x)
	if !ok || g.manifest == nil {
		return nil
	}
	name := joinMember(x.member)
	var names []string
	for _, a := range g.manifest.Actions {
		names = append(names, a.Name)
	}
	n := slices.Index(names, name)
	if n < 0 {
		b.noMember("action", "has", g, name, names, x)
		return nil
	}
	*to = Endpoint{Instance: x.address(), Name: name, Range: toRange(e.Range())}
	return &g.manifest.Actions[n]
}

func (b *builder) noMember(what, verb string, g *group, name string, names []string, x ref) {
	switch {
	case len(names) == 0:
		b.diags.problem("Unknown "+what, fmt.Sprintf("The plugin %s %s no %ss.", g.plugin, verb, what), x.at.Ptr())
	case name == "":
		b.diags.problem("Which "+what+"?", fmt.Sprintf("Write %s.%s, one of: %s.", x.address(), strings.ToUpper(what), strings.Join(names, ", ")), x.at.Ptr())
	default:
		b.diags.problem("Unknown "+what, fmt.Sprintf("The plugin %s %s no %s %q.%s", g.plugin, verb, what, name, suggest(name, names)), x.memberAt.Ptr())
	}
}

// delivery reads the delivery block.
func (b *builder) delivery(in *reader, r *Route) {
	d := in.block("delivery")
	if d == nil {
		return
	}
	p := &r.Delivery
	d.duration("timeout", &p.Timeout, time.Millisecond, 24*time.Hour)
	d.number("attempts", &p.Attempts, 1, 100)
	d.duration("backoff", &p.Backoff, 0, time.Hour)
	d.duration("max_backoff", &p.MaxBackoff, 0, 24*time.Hour)
	d.flag("await", &p.Await)
	d.number("queue", &p.Queue, 1, 100_000)
	d.oneOf("overflow", &p.Overflow, "block", "reject", "drop_oldest")
	d.number("concurrency", &p.Concurrency, 0, 100_000)
	d.oneOf("order", &p.Order, "", "subject")
	d.flag("durable", &p.Durable)
	if p.Durable {
		b.diags.problem("Not available yet", "durable = true needs the journal, which this version does not have. Remove the line: events are kept in memory.", d.body.Attributes["durable"].SrcRange.Ptr())
	}
	if e := d.expr("dead_letter"); e != nil {
		var to Endpoint
		if a := b.target(e, &to); a != nil {
			p.DeadLetter = &to
		}
	}
	d.done()
}

// wantsBool checks that a when can be true or false.
func (b *builder) wantsBool(e hclsyntax.Expression, data cty.Type) {
	ctx := b.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{"event": unknownEvent(data)}
	v, diags := e.Value(ctx)
	if diags.HasErrors() {
		return
	}
	if t := v.Type(); t != cty.Bool && t != cty.DynamicPseudoType {
		b.diags.problem("Neither true nor false", fmt.Sprintf("when is a condition; this is %s.", t.FriendlyName()), e.Range().Ptr())
	}
}

// wantsInput checks what an input gives against what the action takes.
func (b *builder) wantsInput(e hclsyntax.Expression, data cty.Type, action *schema.Action) {
	ctx := b.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{"event": unknownEvent(data)}
	v, diags := e.Value(ctx)
	if diags.HasErrors() {
		return
	}
	b.fits(v.Type(), action.Input, "input", e)
}

// fits tells what of a type does not fit a schema. What is not known before the
// event is there fits.
func (b *builder) fits(t cty.Type, want schema.Type, path string, e hclsyntax.Expression) {
	wrong := func(format string, args ...any) {
		b.diags.problem("The action cannot take this input", path+": "+fmt.Sprintf(format, args...)+".", rangeOf(e))
	}
	if t == cty.DynamicPseudoType {
		return
	}
	switch want.Kind {
	case schema.Any:
	case schema.Object:
		if t.IsMapType() {
			return
		}
		if !t.IsObjectType() {
			wrong("it is %s, not an object", t.FriendlyName())
			return
		}
		var known []string
		for _, f := range want.Fields {
			known = append(known, f.Name)
			if t.HasAttribute(f.Name) {
				b.fits(t.AttributeType(f.Name), f.Type, path+"."+f.Name, objectItem(e, f.Name))
			} else if f.Required {
				wrong("it needs %s (%s)", f.Name, f.Type)
			}
		}
		if len(want.Fields) == 0 {
			return
		}
		for name := range t.AttributeTypes() {
			if !slices.Contains(known, name) {
				at := objectItem(e, name)
				b.diags.problem("The action cannot take this input", fmt.Sprintf("%s: it has no field %q.%s", path, name, suggest(name, known)), rangeOf(at))
			}
		}
	case schema.List:
		switch {
		case t.IsTupleType():
			for i, et := range t.TupleElementTypes() {
				b.fits(et, *want.Elem, fmt.Sprintf("%s[%d]", path, i), listItem(e, i))
			}
		case t.IsListType() || t.IsSetType():
			b.fits(t.ElementType(), *want.Elem, path+"[]", e)
		default:
			wrong("it is %s, not a list", t.FriendlyName())
		}
	case schema.Map:
		switch {
		case t.IsObjectType():
			for name, et := range t.AttributeTypes() {
				b.fits(et, *want.Elem, path+"."+name, objectItem(e, name))
			}
		case t.IsMapType():
			b.fits(t.ElementType(), *want.Elem, path+"[]", e)
		default:
			wrong("it is %s, not a map", t.FriendlyName())
		}
	case schema.Number:
		if t != cty.Number {
			wrong("it is %s, not a number", t.FriendlyName())
		}
	case schema.Bool:
		if t != cty.Bool {
			wrong("it is %s, not true or false", t.FriendlyName())
		}
	default:
		if t != cty.String {
			wrong("it is %s, not a string", t.FriendlyName())
		}
	}
}

// ctyType is the type of a payload; whatever may be anything is not known.
func ctyType(t schema.Type) cty.Type {
	switch t.Kind {
	case schema.String:
		return cty.String
	case schema.Number:
		return cty.Number
	case schema.Bool:
		return cty.Bool
	case schema.List, schema.Map:
		elem := ctyType(*t.Elem)
		switch {
		case elem.HasDynamicTypes():
			return cty.DynamicPseudoType
		case t.Kind == schema.List:
			return cty.List(elem)
		}
		return cty.Map(elem)
	case schema.Object:
		if len(t.Fields) == 0 {
			return cty.DynamicPseudoType
		}
		attrs := map[string]cty.Type{}
		for _, f := range t.Fields {
			attrs[f.Name] = ctyType(f.Type)
		}
		return cty.Object(attrs)
	}
	return cty.DynamicPseudoType
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
		s.WriteString(" " + x.name + " " + b.source(x.e))
		if h := b.captured(x.e); h != "" {
			s.WriteString(" with " + h)
		}
	}
	d := r.Delivery
	if d != deliveryDefaults {
		dead := ""
		if d.DeadLetter != nil {
			dead = d.DeadLetter.Instance + "." + d.DeadLetter.Name
		}
		d.DeadLetter = nil
		text, _ := json.Marshal(d) // plain values cannot fail
		s.WriteString(" delivery " + string(text))
		if dead != "" {
			s.WriteString(" dead_letter " + dead)
		}
	}
	return s.String()
}

// source returns an expression's text with white space folded.
func (b *builder) source(e hclsyntax.Expression) string {
	r := e.Range()
	src := b.diags.sources[r.Filename]
	if r.Start.Byte < 0 || r.End.Byte > len(src) || r.Start.Byte > r.End.Byte {
		return ""
	}
	var s strings.Builder
	tokens, _ := hclsyntax.LexExpression(src[r.Start.Byte:r.End.Byte], r.Filename, hcl.InitialPos)
	for i, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenNewline, hclsyntax.TokenComment, hclsyntax.TokenEOF:
			continue
		}
		if i > 0 && t.Type != hclsyntax.TokenQuotedLit && t.Type != hclsyntax.TokenCQuote && t.Type != hclsyntax.TokenDot && tokens[i-1].Type != hclsyntax.TokenOQuote && tokens[i-1].Type != hclsyntax.TokenDot {
			s.WriteByte(' ')
		}
		s.Write(t.Bytes)
	}
	return s.String()
}

// captured is a hash of the values from outside of an expression, or "".
func (b *builder) captured(e hclsyntax.Expression) string {
	h := sha256.New()
	any := false
	for _, t := range e.Variables() {
		if root := t.RootName(); root != "var" && root != "local" {
			continue
		}
		v, diags := t.TraverseAbs(b.ctx)
		if diags.HasErrors() {
			continue
		}
		v, _ = v.UnmarkDeep()
		any = true
		_, _ = fmt.Fprintf(h, "%#v\n", v)
	}
	if !any {
		return ""
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

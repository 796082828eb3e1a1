// Package expression evaluates expressions: those of a configuration once, with
// bounds on their work, and those over events for each event, decoding only
// the fields that they read.
package expression

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/expression/field"
	"github.com/pluginhost/host/host/config/expression/glance"
	"github.com/pluginhost/host/host/config/function"
	"github.com/pluginhost/host/host/config/secret"
	"github.com/pluginhost/host/sdk/wire"
)

// Expr is a compiled expression over an event. It is immutable and may be
// evaluated from many goroutines. Only the fields of the event that it reads
// are decoded.
type Expr struct {
	expr    hclsyntax.Expression
	ctx     *hcl.EvalContext
	fields  []string    // of event that it reads, besides data
	data    *field.Tree // what it reads of event.data; nil for nothing
	secrets *secret.Set // that no error may hold
	static  *cty.Value
	glance  *glance.Glance // decides most events; nil where it cannot
	metered bool           // it has parts whose work must be counted
	clauses []clause
}

// Compile checks an expression and finds out what it reads; nil when it is
// wrong. dataType is the type of event.data.
func Compile(e hclsyntax.Expression, ctx *hcl.EvalContext, dataType cty.Type, diags *diagnostic.List) *Expr {
	with := ctx.NewChild()
	with.Variables = map[string]cty.Value{"event": UnknownEvent(dataType)}
	if !knownOutside(e, ctx, diags) {
		return nil
	}
	v, ok := Eval(e, with, diags)
	if !ok {
		return nil
	}
	meters, _ := install(e)
	x := &Expr{expr: e, ctx: ctx, secrets: diags.Secrets(), metered: meters > 0,
		clauses: clauses(e, diags.Source(e.Range().Filename))}
	seen := map[string]bool{}
	for _, t := range e.Variables() {
		if t.RootName() != "event" {
			continue
		}
		path := field.Path(t[1:])
		switch {
		case len(path) == 0:
			x.data = new(field.Tree)
			x.data.Add(nil)
			x.fields = eventFields
		case path[0] == "data":
			if x.data == nil {
				x.data = new(field.Tree)
			}
			x.data.Add(path[1:])
		case !seen[path[0]]:
			seen[path[0]] = true
			x.fields = append(x.fields, path[0])
		}
	}
	x.glance = glance.Of(e, ctx)
	if x.data != nil {
		x.data.Declare(dataType)
	}
	if x.data == nil && len(x.fields) == 0 && v.IsWhollyKnown() {
		x.static = &v
	}
	return x
}

// knownOutside checks that what an expression reads outside of the
// configuration does not depend on the event, and reads it, so that no event
// does.
func knownOutside(e hclsyntax.Expression, ctx *hcl.EvalContext, diags *diagnostic.List) bool {
	ok := true
	for _, call := range OutsideCalls(e) {
		for _, a := range call.Args {
			for _, t := range a.Variables() {
				if _, known := variable(ctx, t.RootName()); !known {
					diags.Problem("Not known before the event", fmt.Sprintf("What %s() reads is read once, when the configuration is: its argument cannot depend on the event or on a loop.", call.Name), call.Range().Ptr())
					ok = false
				}
			}
		}
		if ok {
			_, _ = call.Value(ctx) // what is wrong is told when the whole is evaluated
		}
	}
	return ok
}

// OutsideCalls returns the calls of functions that read something outside of
// the configuration.
func OutsideCalls(e hclsyntax.Expression) []*hclsyntax.FunctionCallExpr {
	var calls []*hclsyntax.FunctionCallExpr
	_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok && function.Reaches(call.Name) {
			calls = append(calls, call)
		}
		return nil
	})
	return calls
}

var eventFields = []string{"id", "type", "source", "subject", "time", "correlation", "causation", "deadline", "content_type"}

// UnknownEvent is an event of which only the type of its data is known.
func UnknownEvent(data cty.Type) cty.Value {
	m := map[string]cty.Value{"data": cty.UnknownVal(data)}
	for _, f := range eventFields {
		m[f] = cty.UnknownVal(cty.String)
	}
	return cty.ObjectVal(m)
}

// Bool evaluates a when expression.
func (e *Expr) Bool(ev *wire.Event) (bool, error) {
	if e.glance != nil {
		if v := e.glance.Decide(ev); v != glance.Unsure {
			return v == glance.Yes, nil
		}
	}
	return e.evalBool(ev)
}

func (e *Expr) evalBool(ev *wire.Event) (bool, error) {
	v, err := e.eval(ev)
	if err != nil {
		return false, err
	}
	v, _ = v.Unmark()
	if v, err = convert.Convert(v, cty.Bool); err != nil || v.IsNull() || !v.IsKnown() {
		return false, errors.New("it is neither true nor false")
	}
	return v.True(), nil
}

// JSON evaluates an input expression.
func (e *Expr) JSON(ev *wire.Event) (json.RawMessage, error) {
	v, err := e.eval(ev)
	if err != nil {
		return nil, err
	}
	v, _ = v.UnmarkDeep()
	if !v.IsWhollyKnown() {
		return nil, errors.New("its value is not known")
	}
	b, err := ctyjson.SimpleJSONValue{Value: v}.MarshalJSON()
	if err == nil && len(b) > wire.MaxEvent {
		err = fmt.Errorf("it has %d bytes; at most %d are allowed", len(b), wire.MaxEvent)
	}
	return b, err
}

func (e *Expr) eval(ev *wire.Event) (cty.Value, error) {
	if e.static != nil {
		return *e.static, nil
	}
	return e.evalOf(e.expr, ev)
}

// evalOf evaluates the expression or a part of it.
func (e *Expr) evalOf(x hclsyntax.Expression, ev *wire.Event) (v cty.Value, err error) {
	defer func() { // the library is large, and an event must not end the daemon
		if r := recover(); r != nil {
			v, err = cty.NilVal, fmt.Errorf("it cannot be evaluated: %v", e.secrets.Hide(fmt.Sprint(r)))
		}
	}()
	event := make(map[string]cty.Value, len(e.fields)+1)
	for _, f := range e.fields {
		event[f] = eventField(ev, f)
	}
	if e.data != nil {
		data, err := e.dataOf(ev)
		if err != nil {
			return cty.NilVal, err
		}
		event["data"] = data
	}
	ctx := e.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{"event": cty.ObjectVal(event)}
	var diags hcl.Diagnostics
	if e.metered {
		m := &meter{left: maxEvent}
		v, diags = evaluate(x, under(m, ctx), m)
		if m.left < 0 {
			return cty.NilVal, fmt.Errorf("it takes over %d steps for this event", maxEvent)
		}
		if m.large {
			return cty.NilVal, function.ErrTooLarge
		}
	} else {
		v, diags = x.Value(ctx)
	}
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			return cty.NilVal, errors.New(e.secrets.Hide(strings.TrimSuffix(d.Summary, ".") + ": " + explain(d, x, ctx)))
		}
	}
	return v, nil
}

// dataOf decodes what is read of the event's data.
func (e *Expr) dataOf(ev *wire.Event) (cty.Value, error) {
	if ct := ev.ContentType; ct != "" && ct != "application/json" {
		return cty.StringVal(strings.ToValidUTF8(string(ev.Data), "\uFFFD")), nil
	}
	if len(ev.Data) == 0 {
		return cty.NullVal(cty.DynamicPseudoType), nil
	}
	return e.data.Decode(ev.Data)
}

func eventField(ev *wire.Event, name string) cty.Value {
	text := func(s string) cty.Value {
		if s == "" {
			return cty.NullVal(cty.String)
		}
		return cty.StringVal(s)
	}
	switch name {
	case "id":
		return text(ev.ID.String())
	case "type":
		return text(ev.Type)
	case "source":
		return text(ev.Source)
	case "subject":
		return text(ev.Subject)
	case "time":
		return text(formatTime(ev.Time))
	case "correlation":
		return text(ev.Correlation.String())
	case "causation":
		return text(ev.Causation.String())
	case "deadline":
		return text(formatTime(ev.Deadline))
	case "content_type":
		return text(ev.ContentType)
	}
	return cty.NullVal(cty.String)
}

// formatTime writes Unix nanoseconds as RFC 3339, 0 as nothing.
func formatTime(ns int64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
}

package rpc

import (
	"fmt"

	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
	"github.com/pluginhost/host/sdk/wire/internal/pb"
)

func fromManifest(m *schema.Manifest) *pb.Manifest {
	p := &pb.Manifest{Name: valid(m.Name), Version: valid(m.Version), Doc: valid(m.Doc),
		Config: fromFields(m.Config), Capabilities: m.Capabilities}
	for _, e := range m.Events {
		p.Events = append(p.Events, &pb.EventType{Name: e.Name, Doc: valid(e.Doc), Data: fromType(&e.Data)})
	}
	for _, a := range m.Actions {
		p.Actions = append(p.Actions, &pb.ActionType{Name: a.Name, Doc: valid(a.Doc), Input: fromType(&a.Input), Output: fromType(&a.Output)})
	}
	return p
}

func fromFields(fields []schema.Field) []*pb.Field {
	var out []*pb.Field
	for i := range fields {
		f := &fields[i]
		out = append(out, &pb.Field{Name: valid(f.Name), Type: fromType(&f.Type), Required: f.Required,
			Default: f.Default, Doc: valid(f.Doc), OneOf: f.OneOf, Access: f.Access})
	}
	return out
}

func fromType(t *schema.Type) *pb.Type {
	p := &pb.Type{Kind: string(t.Kind), Fields: fromFields(t.Fields)}
	if t.Elem != nil {
		p.Elem = fromType(t.Elem)
	}
	return p
}

// toManifest converts and bounds the depth; schema's Validate checks the rest.
func toManifest(p *pb.Manifest) (*schema.Manifest, error) {
	m := &schema.Manifest{Name: p.GetName(), Version: p.GetVersion(), Doc: p.GetDoc(), Capabilities: p.GetCapabilities()}
	var err error
	if m.Config, err = toFields(p.GetConfig(), 0); err != nil {
		return nil, err
	}
	for _, e := range p.GetEvents() {
		data, err := toType(e.GetData(), 0)
		if err != nil {
			return nil, fmt.Errorf("event %.64q: %w", e.GetName(), err)
		}
		m.Events = append(m.Events, schema.Event{Name: e.GetName(), Doc: e.GetDoc(), Data: data})
	}
	for _, a := range p.GetActions() {
		input, err := toType(a.GetInput(), 0)
		if err != nil {
			return nil, fmt.Errorf("input of action %.64q: %w", a.GetName(), err)
		}
		output, err := toType(a.GetOutput(), 0)
		if err != nil {
			return nil, fmt.Errorf("output of action %.64q: %w", a.GetName(), err)
		}
		m.Actions = append(m.Actions, schema.Action{Name: a.GetName(), Doc: a.GetDoc(), Input: input, Output: output})
	}
	return m, nil
}

func toFields(fields []*pb.Field, depth int) ([]schema.Field, error) {
	var out []schema.Field
	for _, f := range fields {
		t, err := toType(f.GetType(), depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, schema.Field{Name: f.GetName(), Type: t, Required: f.GetRequired(), Default: f.GetDefault(),
			Doc: f.GetDoc(), OneOf: f.GetOneOf(), Access: f.GetAccess()})
	}
	return out, nil
}

func toType(p *pb.Type, depth int) (schema.Type, error) {
	if depth > schema.MaxDepth {
		return schema.Type{}, fmt.Errorf("types are nested more than %d deep", schema.MaxDepth)
	}
	t := schema.Type{Kind: schema.Kind(p.GetKind())}
	var err error
	if p.GetElem() != nil {
		elem, err := toType(p.GetElem(), depth+1)
		if err != nil {
			return t, err
		}
		t.Elem = &elem
	}
	t.Fields, err = toFields(p.GetFields(), depth)
	return t, err
}

func fromInstance(in Instance) *pb.Instance {
	p := &pb.Instance{Handle: in.Handle, Address: in.Address, Node: in.Node, Generation: in.Generation,
		Config: in.Config, Dir: valid(in.Dir), StateDir: valid(in.StateDir)}
	for _, l := range in.Leases {
		p.Leases = append(p.Leases, &pb.Lease{Id: l.ID, Attribute: l.Attribute})
	}
	return p
}

func toInstance(p *pb.Instance) Instance {
	in := Instance{Handle: p.GetHandle(), Address: p.GetAddress(), Node: p.GetNode(), Generation: p.GetGeneration(),
		Config: p.GetConfig(), Dir: p.GetDir(), StateDir: p.GetStateDir()}
	for _, l := range p.GetLeases() {
		in.Leases = append(in.Leases, Lease{ID: l.GetId(), Attribute: l.GetAttribute()})
	}
	return in
}

func fromDiagnostics(diags []schema.Diagnostic) []*pb.Diagnostic {
	var out []*pb.Diagnostic
	for _, d := range diags {
		p := &pb.Diagnostic{Summary: valid(d.Summary), Detail: valid(d.Detail), Attribute: valid(d.Attribute)}
		if d.Severity == schema.Warning {
			p.Severity = pb.Diagnostic_WARNING
		}
		out = append(out, p)
	}
	return out
}

func toDiagnostics(diags []*pb.Diagnostic) ([]schema.Diagnostic, error) {
	if len(diags) > maxDiagnostics {
		return nil, &wire.Error{Code: wire.ResourceExhausted, Message: fmt.Sprintf("more than %d diagnostics for one instance", maxDiagnostics)}
	}
	var out []schema.Diagnostic
	for _, p := range diags {
		d := schema.Diagnostic{Severity: schema.Error, Summary: p.GetSummary(), Detail: p.GetDetail(), Attribute: p.GetAttribute()}
		if p.GetSeverity() == pb.Diagnostic_WARNING {
			d.Severity = schema.Warning
		}
		out = append(out, d)
	}
	return out, nil
}

// Package payload checks values against the payload schemas of manifests before
// there is an event.
package payload

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/syntax"
	"github.com/pluginhost/host/sdk/schema"
)

// Type is the type of a payload; whatever may be anything is not known.
func Type(t schema.Type) cty.Type {
	switch t.Kind {
	case schema.String:
		return cty.String
	case schema.Number:
		return cty.Number
	case schema.Bool:
		return cty.Bool
	case schema.List, schema.Map:
		elem := Type(*t.Elem)
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
			attrs[f.Name] = Type(f.Type)
		}
		return cty.Object(attrs)
	}
	return cty.DynamicPseudoType
}

// Fits tells what of a type does not fit a schema. What is not known before the
// event is there fits.
func Fits(diags *diagnostic.List, t cty.Type, want schema.Type, path string, e hclsyntax.Expression) {
	wrong := func(format string, args ...any) {
		diags.Problem("The action cannot take this input", path+": "+fmt.Sprintf(format, args...)+".", syntax.RangeOf(e))
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
			wrong("it is %s, not an object", article(t))
			return
		}
		var known []string
		for _, f := range want.Fields {
			known = append(known, f.Name)
			if t.HasAttribute(f.Name) {
				Fits(diags, t.AttributeType(f.Name), f.Type, path+"."+f.Name, syntax.ObjectItem(e, f.Name))
			} else if f.Required {
				wrong("it needs %s (%s)", f.Name, f.Type)
			}
		}
		if len(want.Fields) == 0 {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(t.AttributeTypes())) {
			// What a whole event brings along is no mistake; what was written is.
			if _, literal := e.(*hclsyntax.ObjectConsExpr); literal && !slices.Contains(known, name) {
				diags.Problem("The action cannot take this input", fmt.Sprintf("%s: it has no field %q.%s", path, name, diagnostic.Suggest(name, known)), syntax.ObjectKey(e, name))
			}
		}
	case schema.List:
		switch {
		case t.IsTupleType():
			for i, et := range t.TupleElementTypes() {
				Fits(diags, et, *want.Elem, fmt.Sprintf("%s[%d]", path, i), syntax.ListItem(e, i))
			}
		case t.IsListType() || t.IsSetType():
			Fits(diags, t.ElementType(), *want.Elem, path+"[]", e)
		default:
			wrong("it is %s, not a list", article(t))
		}
	case schema.Map:
		switch {
		case t.IsObjectType():
			for name, et := range t.AttributeTypes() {
				Fits(diags, et, *want.Elem, path+"."+name, syntax.ObjectItem(e, name))
			}
		case t.IsMapType():
			Fits(diags, t.ElementType(), *want.Elem, path+"[]", e)
		default:
			wrong("it is %s, not a map", article(t))
		}
	case schema.Number:
		if t != cty.Number {
			wrong("it is %s, not a number", article(t))
		}
	case schema.Bool:
		if t != cty.Bool {
			wrong("it is %s, not true or false", article(t))
		}
	default:
		if t != cty.String {
			wrong("it is %s, not a string", article(t))
		}
	}
}

func article(t cty.Type) string {
	s := t.FriendlyName()
	if s == "object" {
		return "an " + s
	}
	return "a " + s
}

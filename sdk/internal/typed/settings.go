// Package typed connects an author's Go types with the language of manifests:
// the schema of a configuration struct or a payload, and the values in them.
package typed

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/pluginhost/host/sdk/schema"
)

// meanings are the types whose values mean something to host, and are found in
// packages that everybody has.
var meanings = map[reflect.Type]schema.Kind{
	reflect.TypeFor[time.Duration]():      schema.Duration,
	reflect.TypeFor[*url.URL]():           schema.URL,
	reflect.TypeFor[*template.Template](): schema.Template,
	reflect.TypeFor[net.Listener]():       schema.Listener,
	reflect.TypeFor[net.PacketConn]():     schema.Listener,
	reflect.TypeFor[*os.File]():           schema.File,
}

// attribute is a field of a configuration struct: what the manifest says of
// it, and where it goes.
type attribute struct {
	schema.Field
	index []int     // for reflect's FieldByIndex
	typ   *Settings // of the value
}

// reader reads types; it knows the meaning of the caller's.
type reader map[reflect.Type]schema.Kind

// Settings is a type of a configuration value: its schema, and how to decode.
type Settings struct {
	schema.Type
	goType     reflect.Type // without the pointer of an optional value
	optional   bool         // a pointer to goType
	elem       *Settings    // of a list or map
	attributes []attribute  // of an object
}

// Of reads the attributes of a configuration struct. more are the types of the
// caller's whose values mean something to host.
func Of(t reflect.Type, more map[reflect.Type]schema.Kind) (*Settings, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("the configuration is a %s; it must be a struct", t)
	}
	attributes, err := reader(more).attributes(t, nil, 1)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return object(t, attributes), nil
}

func object(t reflect.Type, attributes []attribute) *Settings {
	c := &Settings{Type: schema.Type{Kind: schema.Object}, goType: t, attributes: attributes}
	for i := range attributes {
		c.Fields = append(c.Fields, attributes[i].Field)
	}
	return c
}

func (r reader) attributes(t reflect.Type, index []int, depth int) ([]attribute, error) {
	var out []attribute
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(slices.Clone(index), i)
		tag, tagged := sf.Tag.Lookup("host")
		switch {
		case tag == "-":
			continue
		case sf.Anonymous && !tagged && sf.Type.Kind() == reflect.Struct:
			inner, err := r.attributes(sf.Type, at, depth)
			if err != nil {
				return nil, err
			}
			out = append(out, inner...)
			continue
		case !sf.IsExported() && !tagged:
			continue
		case !sf.IsExported():
			return nil, fmt.Errorf("field %s has a host tag but is not exported", sf.Name)
		case !tagged:
			return nil, fmt.Errorf(`field %s needs a tag host:"name", or host:"-" when it is no attribute`, sf.Name)
		}
		a, err := r.attribute(sf, tag, depth)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", sf.Name, err)
		}
		a.index = at
		out = append(out, a)
	}
	return out, nil
}

func (r reader) attribute(sf reflect.StructField, tag string, depth int) (attribute, error) {
	name, options, _ := strings.Cut(tag, ",")
	typ, err := r.settings(sf.Type, depth)
	if err != nil {
		return attribute{}, err
	}
	a := attribute{typ: typ, Field: schema.Field{Name: name, Type: typ.Type,
		Doc: sf.Tag.Get("doc"), Access: sf.Tag.Get("access")}}
	switch options {
	case "":
	case "required":
		a.Required = true
	default:
		return a, fmt.Errorf("the host tag knows required, not %q", options)
	}
	if one := sf.Tag.Get("oneof"); one != "" {
		a.OneOf = strings.Split(one, "|")
	}
	if text, ok := sf.Tag.Lookup("default"); ok {
		a.Default = defaultOf(typ.Kind, text)
		if err := schema.CheckDefault(&a.Field); err != nil {
			return a, fmt.Errorf("default: %w", err)
		}
	}
	return a, nil
}

// defaultOf is the text of a default tag in the form that HCL has, as JSON.
func defaultOf(kind schema.Kind, text string) json.RawMessage {
	switch kind {
	case schema.Any, schema.Number, schema.Bool, schema.List, schema.Map, schema.Object:
		return json.RawMessage(text)
	}
	b, _ := json.Marshal(text) // a string cannot fail
	return b
}

func (r reader) settings(t reflect.Type, depth int) (*Settings, error) {
	if depth > schema.MaxDepth-2 {
		return nil, fmt.Errorf("it is nested more than %d deep; a type that contains itself cannot be configured", schema.MaxDepth-2)
	}
	kind, ok := meanings[t]
	if !ok {
		kind, ok = r[t]
	}
	if ok {
		return &Settings{Type: schema.Type{Kind: kind}, goType: t}, nil
	}
	plain := func(k schema.Kind) (*Settings, error) {
		return &Settings{Type: schema.Type{Kind: k}, goType: t}, nil
	}
	switch {
	case t.Kind() == reflect.Pointer:
		c, err := r.settings(t.Elem(), depth)
		if err != nil {
			return nil, err
		}
		if c.optional {
			return nil, fmt.Errorf("%s is a pointer to a pointer", t)
		}
		c.optional = true
		return c, nil
	case t == rawType || t.Kind() == reflect.Interface && t.NumMethod() == 0:
		return plain(schema.Any)
	case t == bytesType || t == timeType || marshals(t, textMarshalerType):
		return plain(schema.String)
	case t.Kind() == reflect.String:
		return plain(schema.String)
	case t.Kind() == reflect.Bool:
		return plain(schema.Bool)
	case isNumber(t.Kind()):
		return plain(schema.Number)
	case t.Kind() == reflect.Struct:
		attributes, err := r.attributes(t, nil, depth+1)
		if err != nil {
			return nil, err
		}
		return object(t, attributes), nil
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		elem, err := r.settings(t.Elem(), depth+1)
		if err != nil {
			return nil, err
		}
		kind := schema.List
		if t.Kind() == reflect.Map {
			kind = schema.Map
		}
		return &Settings{Type: schema.Type{Kind: kind, Elem: &elem.Type}, goType: t, elem: elem}, nil
	}
	return nil, fmt.Errorf("a %s cannot be configured", t)
}

package typed

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pluginhost/host/sdk/schema"
)

var (
	timeType          = reflect.TypeFor[time.Time]()
	rawType           = reflect.TypeFor[json.RawMessage]()
	bytesType         = reflect.TypeFor[[]byte]()
	emptyType         = reflect.TypeFor[struct{}]()
	jsonMarshaler     = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
)

// Payload is the schema of an event's data or of an action's input. Raw
// bytes and struct{} take anything.
func Payload(t reflect.Type) (schema.Type, error) {
	if t == bytesType || t == rawType || t == emptyType {
		return schema.Type{Kind: schema.Any}, nil
	}
	return jsonType(t, nil)
}

// Output is the schema of an action's output. struct{} gives nothing.
func Output(t reflect.Type) (schema.Type, error) {
	if t == emptyType {
		return schema.Type{Kind: schema.Object}, nil
	}
	return Payload(t)
}

// jsonType is the schema of what encoding/json makes of a type. within holds
// the structs around it: a type that contains itself ends in any.
func jsonType(t reflect.Type, within []reflect.Type) (schema.Type, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == timeType || t == bytesType:
		return schema.Type{Kind: schema.String}, nil
	case t == rawType || t.Kind() == reflect.Interface || marshals(t, jsonMarshaler):
		return schema.Type{Kind: schema.Any}, nil
	case marshals(t, textMarshalerType):
		return schema.Type{Kind: schema.String}, nil
	}
	switch t.Kind() {
	case reflect.String:
		return schema.Type{Kind: schema.String}, nil
	case reflect.Bool:
		return schema.Type{Kind: schema.Bool}, nil
	case reflect.Slice, reflect.Array:
		return elements(schema.List, t, within)
	case reflect.Map:
		return elements(schema.Map, t, within)
	case reflect.Struct:
		if slices.Contains(within, t) || len(within) >= schema.MaxDepth-2 {
			return schema.Type{Kind: schema.Any}, nil
		}
		fields, err := jsonFields(t, append(slices.Clone(within), t))
		return schema.Type{Kind: schema.Object, Fields: fields}, err
	}
	if isNumber(t.Kind()) {
		return schema.Type{Kind: schema.Number}, nil
	}
	return schema.Type{}, fmt.Errorf("JSON has no %s", t)
}

func elements(kind schema.Kind, t reflect.Type, within []reflect.Type) (schema.Type, error) {
	if len(within) >= schema.MaxDepth-2 {
		return schema.Type{Kind: schema.Any}, nil
	}
	elem, err := jsonType(t.Elem(), append(slices.Clone(within), t))
	return schema.Type{Kind: kind, Elem: &elem}, err
}

func marshals(t, by reflect.Type) bool {
	return t.Implements(by) || reflect.PointerTo(t).Implements(by)
}

func isNumber(k reflect.Kind) bool {
	return k >= reflect.Int && k <= reflect.Float64 && k != reflect.Uintptr
}

// jsonFields are a struct's fields as encoding/json names them. An embedded
// struct's fields come where it stands; an outer field hides an inner one.
func jsonFields(t reflect.Type, within []reflect.Type) ([]schema.Field, error) {
	var out []schema.Field
	var inner []bool
	add := func(f schema.Field, embedded bool) {
		at := slices.IndexFunc(out, func(x schema.Field) bool { return x.Name == f.Name })
		switch {
		case at < 0:
			out, inner = append(out, f), append(inner, embedded)
		case inner[at] && !embedded:
			out[at], inner[at] = f, false
		}
	}
	for i := range t.NumField() {
		sf := t.Field(i)
		name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if sf.Tag.Get("json") == "-" {
			continue
		}
		if sf.Anonymous && name == "" && structBehind(sf.Type) != nil {
			fields, err := jsonFields(structBehind(sf.Type), within)
			if err != nil {
				return nil, err
			}
			for _, f := range fields {
				f.Required = f.Required && sf.Type.Kind() != reflect.Pointer
				add(f, true)
			}
			continue
		}
		if !sf.IsExported() {
			continue
		}
		if name == "" {
			name = sf.Name
		}
		opts := strings.Split(options, ",")
		typ, err := jsonType(sf.Type, within)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", sf.Name, err)
		}
		if slices.Contains(opts, "string") && (isNumber(sf.Type.Kind()) || sf.Type.Kind() == reflect.Bool) {
			typ = schema.Type{Kind: schema.String}
		}
		f := schema.Field{Name: name, Type: typ, Doc: sf.Tag.Get("doc")}
		f.Required = sf.Type.Kind() != reflect.Pointer && !slices.Contains(opts, "omitempty") && !slices.Contains(opts, "omitzero")
		if one := sf.Tag.Get("oneof"); one != "" {
			f.OneOf = strings.Split(one, "|")
		}
		add(f, false)
	}
	return out, nil
}

// structBehind returns the struct that an embedded field brings fields of.
func structBehind(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == timeType || marshals(t, jsonMarshaler) || marshals(t, textMarshalerType) {
		return nil
	}
	return t
}

// Encode is a payload as bytes: raw bytes pass through, struct{} is nothing.
func Encode[T any](v T) ([]byte, error) {
	switch x := any(&v).(type) {
	case *json.RawMessage:
		return *x, nil
	case *[]byte:
		return *x, nil
	case *struct{}:
		return nil, nil
	}
	return marshal(v)
}

// marshal is apart so that v escapes to the heap only here.
//
//go:noinline
func marshal[T any](v T) ([]byte, error) { return json.Marshal(v) }

// Decode is the reverse; no bytes are the zero value.
func Decode[T any](b []byte, v *T) error {
	switch x := any(v).(type) {
	case *json.RawMessage:
		*x = b
		return nil
	case *[]byte:
		*x = b
		return nil
	case *struct{}:
		return nil
	}
	if len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, v)
}

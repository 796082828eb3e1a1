// Package field decodes the fields of an event's data that an expression reads,
// and only those.
package field

import (
	"encoding/json"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/pluginhost/host/host/config/expression/scan"
)

// Path returns the leading steps of a traversal that name fields.
func Path(t hcl.Traversal) []string {
	var path []string
	for _, step := range t {
		switch s := step.(type) {
		case hcl.TraverseAttr:
			path = append(path, s.Name)
		case hcl.TraverseIndex:
			if s.Key.Type() != cty.String {
				return path
			}
			path = append(path, s.Key.AsString())
		default:
			return path
		}
	}
	return path
}

// Tree says which fields of a JSON value are read. The zero value is for none.
type Tree struct {
	all    bool
	fields map[string]*Tree
	nulls  []string // of fields: those that are null when they are absent
}

// Declare tells which fields the schema has: one that is optional and absent is
// null, while one that is not in the schema is an error, as try() expects.
func (r *Tree) Declare(t cty.Type) {
	if r.all || !t.IsObjectType() {
		return
	}
	for name, sub := range r.fields {
		if t.HasAttribute(name) {
			r.nulls = append(r.nulls, name)
			sub.Declare(t.AttributeType(name))
		}
	}
}

// Add notes that a path is read.
func (r *Tree) Add(path []string) {
	if len(path) == 0 {
		r.all = true
	}
	if r.all {
		return
	}
	if r.fields == nil {
		r.fields = map[string]*Tree{}
	}
	if r.fields[path[0]] == nil {
		r.fields[path[0]] = &Tree{}
	}
	r.fields[path[0]].Add(path[1:])
}

// Decode decodes the fields that are wanted; the rest is skipped, not built.
func (r *Tree) Decode(b []byte) (cty.Value, error) {
	v, rest, err := r.value(b, 0)
	if err != nil {
		return cty.NilVal, err
	}
	if len(scan.Space(rest)) > 0 {
		return cty.NilVal, scan.ErrNotJSON
	}
	return v, nil
}

func (r *Tree) value(b []byte, depth int) (cty.Value, []byte, error) {
	b = scan.Space(b)
	if len(b) == 0 || depth > scan.MaxDepth {
		return cty.NilVal, nil, scan.ErrNotJSON
	}
	if r.all || b[0] != '{' {
		end, err := scan.Value(b, depth)
		if err != nil {
			return cty.NilVal, nil, err
		}
		v, err := scalarOrAll(b[:end])
		return v, b[end:], err
	}
	fields := make(map[string]cty.Value, len(r.fields))
	b = scan.Space(b[1:])
	for first := true; ; first = false {
		if len(b) > 0 && b[0] == '}' {
			for _, name := range r.nulls {
				if _, ok := fields[name]; !ok {
					fields[name] = cty.NullVal(cty.DynamicPseudoType)
				}
			}
			return cty.ObjectVal(fields), b[1:], nil
		}
		if !first {
			if len(b) == 0 || b[0] != ',' {
				return cty.NilVal, nil, scan.ErrNotJSON
			}
			b = scan.Space(b[1:])
		}
		n, err := scan.String(b)
		if err != nil {
			return cty.NilVal, nil, err
		}
		key := b[:n]
		b = scan.Space(b[n:])
		if len(b) == 0 || b[0] != ':' {
			return cty.NilVal, nil, scan.ErrNotJSON
		}
		b = scan.Space(b[1:])
		if sub := r.field(key); sub != nil {
			v, rest, err := sub.value(b, depth+1)
			if err != nil {
				return cty.NilVal, nil, err
			}
			name, err := unquote(key)
			if err != nil {
				return cty.NilVal, nil, err
			}
			fields[name], b = v, rest
		} else {
			n, err := scan.Value(b, depth+1)
			if err != nil {
				return cty.NilVal, nil, err
			}
			b = b[n:]
		}
		b = scan.Space(b)
	}
}

// field looks a quoted key up without allocating for plain ones.
func (r *Tree) field(quoted []byte) *Tree {
	in := quoted[1 : len(quoted)-1]
	for _, c := range in {
		if c == '\\' {
			s, err := unquote(quoted)
			if err != nil {
				return nil
			}
			return r.fields[s]
		}
	}
	return r.fields[string(in)]
}

// scalarOrAll decodes one complete value.
func scalarOrAll(b []byte) (cty.Value, error) {
	switch b[0] {
	case '"':
		s, err := unquote(b)
		return cty.StringVal(s), err
	case 't':
		return cty.True, nil
	case 'f':
		return cty.False, nil
	case 'n':
		return cty.NullVal(cty.DynamicPseudoType), nil
	case '{', '[':
		if !scan.ReasonableNumbers(b) {
			return cty.NilVal, scan.ErrNumber
		}
		v, err := FromJSON(b)
		if err != nil {
			return cty.NilVal, scan.ErrNotJSON
		}
		return v, nil
	}
	var n int64
	neg, digits := b[0] == '-', b
	if neg {
		digits = b[1:]
	}
	if len(digits) > 0 && len(digits) < 16 {
		for i, c := range digits {
			if c < '0' || c > '9' {
				break
			}
			n = n*10 + int64(c-'0')
			if i == len(digits)-1 {
				if neg {
					n = -n
				}
				return cty.NumberIntVal(n), nil
			}
		}
	}
	if !scan.ReasonableNumber(b) {
		return cty.NilVal, scan.ErrNumber
	}
	v, err := cty.ParseNumberVal(string(b))
	if err != nil {
		return cty.NilVal, scan.ErrNotJSON
	}
	return v, nil
}

func unquote(b []byte) (string, error) {
	for _, c := range b {
		if c == '\\' || c >= 0x80 {
			var s string
			if err := json.Unmarshal(b, &s); err != nil {
				return "", scan.ErrNotJSON
			}
			return s, nil
		}
	}
	return string(b[1 : len(b)-1]), nil
}

// FromJSON reads JSON as a value.
func FromJSON(b []byte) (cty.Value, error) {
	var v ctyjson.SimpleJSONValue
	if err := v.UnmarshalJSON(b); err != nil {
		return cty.NilVal, err
	}
	return v.Value, nil
}

package schema

import (
	"fmt"
	"strings"
)

// Compatible reports whether a value of type from can be given where to is
// wanted, an event's data to an action's input for example. any fits both
// ways; objects may have more fields than wanted; what is required must be
// promised. The error names the path at fault and is fit to be shown to people.
func Compatible(from, to Type) error { return compatible("", &from, &to, 0) }

// MismatchError says where two types differ.
type MismatchError struct {
	Path string // for example items[].id; empty for the whole value
	What string // "is a number, a string is wanted"
}

func (e *MismatchError) Error() string {
	if e.Path == "" {
		return "the value " + e.What
	}
	return e.Path + " " + e.What
}

func compatible(path string, from, to *Type, depth int) error {
	if from.Kind == Any || to.Kind == Any || from.Kind == "" || to.Kind == "" || depth > MaxDepth {
		return nil
	}
	switch {
	case from.Kind == Object && to.Kind == Object:
		for i := range to.Fields {
			want := &to.Fields[i]
			have := from.field(want.Name)
			if have == nil {
				if want.Required {
					return &MismatchError{join(path, want.Name), "is missing: it is required and " + article(&want.Type)}
				}
				continue
			}
			if want.Required && !have.Required {
				return &MismatchError{join(path, want.Name), "may be missing: it is required"}
			}
			if err := compatible(join(path, want.Name), &have.Type, &want.Type, depth+1); err != nil {
				return err
			}
		}
		return nil
	case from.Kind == Map && to.Kind == Object && from.Elem != nil:
		for i := range to.Fields {
			if to.Fields[i].Required {
				return &MismatchError{join(path, to.Fields[i].Name), "may be missing in a map: it is required"}
			}
			if err := compatible(join(path, to.Fields[i].Name), from.Elem, &to.Fields[i].Type, depth+1); err != nil {
				return err
			}
		}
		return nil
	case from.Kind == Object && to.Kind == Map && to.Elem != nil:
		for i := range from.Fields {
			if err := compatible(join(path, from.Fields[i].Name), &from.Fields[i].Type, to.Elem, depth+1); err != nil {
				return err
			}
		}
		return nil
	case from.Kind != to.Kind:
		return &MismatchError{path, "is " + article(from) + ", but " + article(to) + " is wanted"}
	case from.Elem != nil && to.Elem != nil:
		return compatible(path+"[]", from.Elem, to.Elem, depth+1)
	}
	return nil
}

func (t *Type) field(name string) *Field {
	for i := range t.Fields {
		if t.Fields[i].Name == name {
			return &t.Fields[i]
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func article(t *Type) string {
	s := string(t.Kind)
	if t.Kind == List || t.Kind == Map {
		s = t.String()
	}
	if strings.ContainsRune("aeiou", rune(s[0])) {
		return "an " + s
	}
	return "a " + s
}

// String describes a type to people: list of string, or object {id: string,
// note?: string}, where ? marks what may be absent.
func (t Type) String() string {
	var b strings.Builder
	t.write(&b, 0)
	return b.String()
}

func (t *Type) write(b *strings.Builder, depth int) {
	if depth > MaxDepth {
		b.WriteString("…")
		return
	}
	switch {
	case t.Kind == "":
		b.WriteString(string(Any))
	case (t.Kind == List || t.Kind == Map) && t.Elem != nil:
		fmt.Fprintf(b, "%s of ", t.Kind)
		t.Elem.write(b, depth+1)
	case t.Kind == Object && len(t.Fields) > 0:
		b.WriteString("object {")
		for i := range t.Fields {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(t.Fields[i].Name)
			if !t.Fields[i].Required {
				b.WriteByte('?')
			}
			b.WriteString(": ")
			t.Fields[i].Type.write(b, depth+1)
		}
		b.WriteByte('}')
	default:
		b.WriteString(string(t.Kind))
	}
}

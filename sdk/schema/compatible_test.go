package schema_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pluginhost/host/sdk/schema"
)

// of reads a type: any, string, number, bool, [T] a list, <T> a map,
// {name:T,name?:T} an object.
func of(s string) schema.Type {
	t, rest := parse(s)
	if rest != "" {
		panic(s)
	}
	return t
}

func parse(s string) (t schema.Type, rest string) {
	switch s[0] {
	case '[', '<':
		elem, rest := parse(s[1:])
		return schema.Type{Kind: map[byte]schema.Kind{'[': schema.List, '<': schema.Map}[s[0]], Elem: &elem}, rest[1:]
	case '{':
		t, s = schema.Type{Kind: schema.Object}, s[1:]
		for s[0] != '}' {
			n := strings.IndexByte(s, ':')
			name, optional := strings.CutSuffix(s[:n], "?")
			f := schema.Field{Name: name, Required: !optional}
			f.Type, s = parse(s[n+1:])
			t.Fields = append(t.Fields, f)
			s = strings.TrimPrefix(s, ",")
		}
		return t, s[1:]
	}
	n := strings.IndexAny(s, "]>},")
	if n < 0 {
		n = len(s)
	}
	return schema.Type{Kind: schema.Kind(s[:n])}, s[n:]
}

func TestCompatible(t *testing.T) {
	for _, test := range []struct{ from, to, want string }{
		{"string", "string", ""},
		{"any", "{a:string}", ""},
		{"{a:string}", "any", ""},
		{"string", "number", "the value is a string, but a number is wanted"},
		{"{}", "string", "is an object, but a string"},
		{"{a:string,b:number}", "{a:string}", ""},
		{"{a:string}", "{a:string,b?:number}", ""},
		{"{a:string}", "{a:string,b:number}", "b is missing: it is required and a number"},
		{"{a?:string}", "{a:string}", "a may be missing: it is required"},
		{"{a?:string}", "{a?:string}", ""},
		{"{a:string}", "{a?:string}", ""},
		{"{a:{b:[{c:string}]}}", "{a:{b:[{c:number}]}}", "a.b[].c is a string"},
		{"[string]", "[number]", "[] is a string"},
		{"[string]", "<string>", "is a list of string, but a map of string is wanted"},
		{"<string>", "{a?:string}", ""},
		{"<string>", "{a:string}", "a may be missing in a map"},
		{"<number>", "{a?:string}", "a is a number"},
		{"{a:string,b?:string}", "<string>", ""},
		{"{a:string,b?:number}", "<string>", "b is a number"},
		{"[any]", "[string]", ""},
	} {
		err := schema.Compatible(of(test.from), of(test.to))
		if err == nil && test.want != "" || err != nil && (test.want == "" || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s to %s: %v, want %q", test.from, test.to, err, test.want)
		}
	}
}

// kinds are all but any: what may be anything is checked when it is there.
var kinds = []string{"string", "number", "bool"}

func randomType(r *rand.Rand, depth int) string {
	n := r.IntN(6)
	switch {
	case depth == 0 || n < 2:
		return kinds[r.IntN(len(kinds))]
	case n == 2:
		return "[" + randomType(r, depth-1) + "]"
	case n == 3:
		return "<" + randomType(r, depth-1) + ">"
	}
	var fields []string
	for _, name := range []string{"a", "b", "c"} {
		switch r.IntN(3) {
		case 0:
			fields = append(fields, name+":"+randomType(r, depth-1))
		case 1:
			fields = append(fields, name+"?:"+randomType(r, depth-1))
		}
	}
	return "{" + strings.Join(fields, ",") + "}"
}

// mutate changes a type a little, so that many pairs are nearly compatible.
func mutate(r *rand.Rand, s string) string {
	switch r.IntN(4) {
	case 0:
		return strings.Replace(s, "?", "", 1)
	case 1:
		return strings.Replace(s, ":", "?:", 1)
	case 2:
		return strings.NewReplacer("[", "<", "]", ">").Replace(s)
	}
	return strings.Replace(s, kinds[r.IntN(3)], kinds[r.IntN(3)], 1)
}

// value makes a value that satisfies a type.
func value(r *rand.Rand, t *schema.Type) any {
	switch t.Kind {
	case schema.String:
		return "x"
	case schema.Number:
		return 1
	case schema.Bool:
		return true
	case schema.List:
		list := []any{}
		for range r.IntN(3) {
			list = append(list, value(r, t.Elem))
		}
		return list
	case schema.Map:
		m := map[string]any{}
		for _, k := range []string{"a", "b", "z"} {
			if r.IntN(2) == 0 {
				m[k] = value(r, t.Elem)
			}
		}
		return m
	}
	m := map[string]any{}
	for i := range t.Fields {
		if f := &t.Fields[i]; f.Required || r.IntN(2) == 0 {
			m[f.Name] = value(r, &f.Type)
		}
	}
	return m
}

// satisfies says what of a value does not satisfy a type; objects may have more.
func satisfies(t *schema.Type, v any) error {
	switch x := v.(type) {
	case string, int, bool:
		if want := map[schema.Kind]string{schema.String: "string", schema.Number: "int", schema.Bool: "bool"}[t.Kind]; want != fmt.Sprintf("%T", x) {
			return fmt.Errorf("%T for %s", x, t)
		}
	case []any:
		if t.Kind != schema.List {
			return fmt.Errorf("a list for %s", t)
		}
		for _, e := range x {
			if err := satisfies(t.Elem, e); err != nil {
				return err
			}
		}
	case map[string]any:
		switch t.Kind {
		case schema.Map:
			for _, e := range x {
				if err := satisfies(t.Elem, e); err != nil {
					return err
				}
			}
		case schema.Object:
			for i := range t.Fields {
				f := &t.Fields[i]
				e, ok := x[f.Name]
				if !ok && f.Required {
					return fmt.Errorf("%s is missing", f.Name)
				}
				if ok {
					if err := satisfies(&f.Type, e); err != nil {
						return err
					}
				}
			}
		default:
			return fmt.Errorf("an object for %s", t)
		}
	}
	return nil
}

// What satisfies an event's schema satisfies that of every action which
// Compatible lets it go to.
func TestCompatibleKeepsItsPromise(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	fit := 0
	for range 60_000 {
		text := randomType(r, 3)
		other := text
		if r.IntN(4) == 0 {
			other = randomType(r, 3)
		}
		for range r.IntN(3) {
			other = mutate(r, other)
		}
		from, to := of(text), of(other)
		if schema.Compatible(from, to) != nil {
			continue
		}
		fit++
		v := value(r, &from)
		if err := satisfies(&from, v); err != nil {
			t.Fatalf("the test is wrong: %v is no %s: %v", v, text, err)
		}
		if err := satisfies(&to, v); err != nil {
			t.Fatalf("%s is accepted for %s, but %v is not: %v", text, other, v, err)
		}
	}
	if fit < 10_000 {
		t.Errorf("only %d pairs were compatible", fit)
	}
}

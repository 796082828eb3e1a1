// Package variable gives the named values of a configuration: variables, from
// flags, files, the environment or their defaults, checked against their types,
// and locals. Package config calls it, and lets expressions see them.
package variable

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyfunction "github.com/zclconf/go-cty/cty/function"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/expression"
	"github.com/pluginhost/host/host/config/function"
	"github.com/pluginhost/host/host/config/syntax"
)

// given is a value for a variable from outside of its block.
type given struct {
	text  string // as it was written, when value is absent
	value cty.Value
	at    *hcl.Range
	from  string
}

// Scope is where variables are declared, and where their values come from.
type Scope struct {
	Blocks    []*hclsyntax.Block // variable "NAME" {}
	Dir       string             // holds *.auto.hclvars
	Files     []string           // of values: lines of HCL, or JSON where the name ends in .json
	Vars      map[string]string  // from --var
	Env       map[string]string  // HOST_VAR_name
	Functions map[string]ctyfunction.Function
	Diags     *diagnostic.List

	texts  []Text
	broken bool // a file of values could not be read, so that any value may be missing
}

// Text is a file that a configuration was read from.
type Text struct {
	Path string
	Text []byte
	Vars bool // named by Scope.Files
}

// Given is the value of a variable that came as text, from a flag or the
// environment.
type Given struct {
	Value     string
	Sensitive bool // the value must not be shown or written anywhere
}

// Eval gives each variable its value: from --var, else from files, else from the
// environment, else its default. With the values it returns which of them came
// as text, and the files that were read.
func (s *Scope) Eval() (vars map[string]cty.Value, texts map[string]Given, files []Text) {
	names := map[string]bool{}
	for _, b := range s.Blocks {
		names[b.Labels[0]] = true
	}
	values := s.givenValues(names)
	vars, texts = map[string]cty.Value{}, map[string]Given{}
	for _, b := range s.Blocks {
		name := b.Labels[0]
		g := values[name]
		v, sensitive := s.evalVariable(b, g)
		if g.from != "" && g.value == cty.NilVal {
			texts[name] = Given{Value: g.text, Sensitive: sensitive}
		}
		if sensitive {
			v = MarkSecret(v, s.Diags)
		}
		vars[name] = v
	}
	return vars, texts, s.texts
}

// givenValues collects values from all places; later ones win.
func (s *Scope) givenValues(names map[string]bool) map[string]given {
	known := slices.Sorted(maps.Keys(names))
	values := map[string]given{}
	for k, v := range s.Env {
		if name, ok := strings.CutPrefix(k, "HOST_VAR_"); ok && names[name] {
			values[name] = given{text: v, from: "the environment variable " + k}
		}
	}
	before := s.Diags.Len()
	files := syntax.ReadDir(s.Dir, ".auto.hclvars", nil, s.Diags)
	inDir := len(files)
	for _, path := range s.Files {
		if file := syntax.ReadFile(path, s.Diags); file != nil {
			if !isJSON(file) {
				file.Parse(s.Diags)
			}
			files = append(files, file)
		}
	}
	s.broken = s.Diags.Len() > before
	is := func(name string, at *hcl.Range) bool {
		if !names[name] {
			s.Diags.Problem("Unknown variable", fmt.Sprintf("There is no variable %q.%s", name, diagnostic.Suggest(name, known)), at)
		}
		return names[name]
	}
	for n, file := range files {
		s.texts = append(s.texts, Text{Path: file.Name, Text: file.Text, Vars: n >= inDir})
		if isJSON(file) {
			s.broken = !s.readJSON(file, func(name string, v cty.Value, at *hcl.Range) {
				if is(name, at) {
					values[name] = given{value: v, at: at, from: file.Name}
				}
			}) || s.broken
		}
		if file.Body == nil {
			continue
		}
		for _, b := range file.Body.Blocks {
			s.Diags.Problem("A block among values", "A file of values has lines of the form name = value only.", b.TypeRange.Ptr())
		}
		for _, a := range syntax.SortedAttrs(file.Body) {
			if !is(a.Name, a.NameRange.Ptr()) {
				continue
			}
			if v, ok := expression.Eval(a.Expr, &hcl.EvalContext{Functions: s.Functions}, s.Diags); ok {
				values[a.Name] = given{value: v, at: a.Expr.Range().Ptr(), from: file.Name}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Vars)) {
		if !names[name] {
			s.Diags.Problem("Unknown variable", fmt.Sprintf("--var %s=…: there is no variable %q.%s", name, name, diagnostic.Suggest(name, known)), nil)
			continue
		}
		values[name] = given{text: s.Vars[name], from: "--var " + name}
	}
	return values
}

func isJSON(file *syntax.File) bool { return strings.HasSuffix(file.Name, ".json") }

// typeWords are what a type is made of.
var typeWords = []string{"string", "number", "bool", "any", "list", "set", "map", "object", "tuple", "optional"}

// evalVariable evaluates one block. The value is unknown when it is wrong, so
// that what uses it is not blamed too.
func (s *Scope) evalVariable(b *hclsyntax.Block, g given) (v cty.Value, sensitive bool) {
	name := b.Labels[0]
	r := syntax.NewReader(b.Body, "variable "+name, &hcl.EvalContext{Functions: s.Functions}, s.Diags)
	want := cty.DynamicPseudoType
	var defaults *typeexpr.Defaults // of optional() attributes
	if e := r.Expr("type"); e != nil {
		t, d, diags := typeexpr.TypeConstraintWithDefaults(e)
		for _, x := range diags {
			if x.Subject != nil { // the word that is no type
				word, _, _ := strings.Cut(string(x.Subject.SliceBytes(s.Diags.Source(x.Subject.Filename))), "(")
				x.Detail += diagnostic.Nearest(word, typeWords)
			}
		}
		s.Diags.HCL(diags)
		if !diags.HasErrors() {
			want, defaults = t, d
		}
	}
	var description string
	r.Text("description", &description)
	r.Flag("sensitive", &sensitive)
	def := r.Expr("default")
	validation := r.Block("validation")
	r.Done()

	at := b.DefRange().Ptr()
	switch {
	case g.from != "" && g.value != cty.NilVal:
		v, at = g.value, g.at
	case g.from != "":
		if sensitive {
			s.Diags.Secret(g.text)
		}
		var ok bool
		if v, ok = s.fromText(g, want, name); !ok {
			return cty.UnknownVal(want.WithoutOptionalAttributesDeep()), sensitive
		}
	case def != nil:
		at = def.Range().Ptr()
		var ok bool
		if v, ok = expression.Eval(def, r.Ctx, s.Diags); !ok {
			return cty.DynamicVal, sensitive
		}
	case s.broken: // it may be there
		return cty.UnknownVal(want.WithoutOptionalAttributesDeep()), sensitive
	default:
		s.Diags.Problem("A variable without a value", fmt.Sprintf("variable %q has no default. Give it one, or a value: --var %s=…, HOST_VAR_%s=…, or a line in a file that ends in .auto.hclvars.", name, name, name), at)
		return cty.UnknownVal(want.WithoutOptionalAttributesDeep()), sensitive
	}
	if sensitive {
		v = MarkSecret(v, s.Diags)
	}
	if defaults != nil && !v.IsNull() {
		v = defaults.Apply(v)
	}
	c, err := convert.Convert(v, want)
	if err != nil {
		if v.ContainsMarked() {
			err = fmt.Errorf("it is not %s; the value is secret and not shown", want.FriendlyName())
		}
		if g.from != "" && g.at == nil {
			s.Diags.Problem("Wrong type", fmt.Sprintf("The value of variable %q from %s: %s.", name, g.from, err), b.DefRange().Ptr())
		} else {
			s.Diags.Problem("Wrong type", fmt.Sprintf("The value of variable %q: %s.", name, err), at)
		}
		return cty.UnknownVal(want.WithoutOptionalAttributesDeep()), sensitive
	}
	if validation != nil {
		s.validate(validation, name, c)
	}
	return c, sensitive
}

// fromText reads a value from a flag or the environment: as it is for a string,
// as an expression otherwise.
func (s *Scope) fromText(g given, want cty.Type, name string) (cty.Value, bool) {
	if want == cty.String || want == cty.DynamicPseudoType {
		return cty.StringVal(g.text), true
	}
	if at, why := syntax.Excess([]byte(g.text), g.from); at != nil || len(g.text) > syntax.MaxFile {
		if at == nil {
			why = fmt.Sprintf("It has over %d MiB.", syntax.MaxFile>>20)
		}
		s.Diags.Problem("Out of bounds", fmt.Sprintf("The value of variable %q from %s: %s", name, g.from, why), nil)
		return cty.NilVal, false
	}
	e, diags := hclsyntax.ParseExpression([]byte(g.text), g.from, hcl.InitialPos)
	if diags.HasErrors() {
		return cty.StringVal(g.text), true // convert says what it should be
	}
	// What is wrong with it is for convert to say, in the words of the type.
	v, ok := expression.Eval(e, &hcl.EvalContext{Functions: s.Functions}, diagnostic.NewList())
	if !ok {
		return cty.StringVal(g.text), true
	}
	return v, true
}

// validate evaluates validation { condition error_message }.
func (s *Scope) validate(r *syntax.Reader, name string, v cty.Value) {
	r.Ctx = &hcl.EvalContext{Functions: s.Functions, Variables: map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{name: v})}}
	valid, message := true, "The value is not allowed."
	at := r.Body.SrcRange.Ptr()
	if e := r.Expr("condition"); e != nil {
		at = e.Range().Ptr()
	}
	r.Flag("condition", &valid)
	r.Text("error_message", &message)
	r.Done()
	if !valid {
		s.Diags.Problem(fmt.Sprintf("variable %q is not valid", name), message, at)
	}
}

// MarkSecret marks a value, and keeps its texts out of diagnostics.
func MarkSecret(v cty.Value, diags *diagnostic.List) cty.Value {
	plain, _ := v.UnmarkDeep()
	_ = cty.Walk(plain, func(_ cty.Path, x cty.Value) (bool, error) {
		if x.IsKnown() && !x.IsNull() && (x.Type() == cty.String || x.Type() == cty.Number) {
			if text, err := convert.Convert(x, cty.String); err == nil {
				diags.Secret(text.AsString())
			}
		}
		return true, nil
	})
	return plain.Mark(function.Secret)
}

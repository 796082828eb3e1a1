package config

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

// evalVariables gives each variable its value: from -var, else from files, else
// from the environment, else its default.
func (f *Files) evalVariables(env map[string]string) map[string]cty.Value {
	blocks := f.blocks("variable")
	names := map[string]bool{}
	for _, b := range blocks {
		names[b.Labels[0]] = true
	}
	values := f.givenValues(env, names)
	vars := map[string]cty.Value{}
	for _, b := range blocks {
		name := b.Labels[0]
		g := values[name]
		v, sensitive := f.evalVariable(b, g)
		if g.from != "" && g.value == cty.NilVal {
			f.given[name] = Given{Value: g.text, Sensitive: sensitive}
		}
		if sensitive {
			v = f.markSecret(v)
		}
		vars[name] = v
	}
	return vars
}

// givenValues collects values from all places; later ones win.
func (f *Files) givenValues(env map[string]string, names map[string]bool) map[string]given {
	known := slices.Sorted(maps.Keys(names))
	values := map[string]given{}
	for k, v := range env {
		if name, ok := strings.CutPrefix(k, "HOST_VAR_"); ok && names[name] {
			values[name] = given{text: v, from: "the environment variable " + k}
		}
	}
	files := syntax.ReadDir(f.src.Dir, ".auto.hclvars", nil, f.diags)
	inDir := len(files)
	for _, path := range f.src.VarFiles {
		if file := syntax.ReadFile(path, f.diags); file != nil {
			file.Parse(f.diags)
			files = append(files, file)
		}
	}
	for n, file := range files {
		f.texts = append(f.texts, Text{Path: file.Name, Text: file.Text, Vars: n >= inDir})
		if file.Body == nil {
			continue
		}
		for _, b := range file.Body.Blocks {
			f.diags.Problem("A block among values", "A file of values has lines of the form name = value only.", b.TypeRange.Ptr())
		}
		for _, a := range syntax.SortedAttrs(file.Body) {
			if !names[a.Name] {
				f.diags.Problem("Unknown variable", fmt.Sprintf("There is no variable %q.%s", a.Name, diagnostic.Suggest(a.Name, known)), a.NameRange.Ptr())
				continue
			}
			if v, ok := f.eval(a.Expr, &hcl.EvalContext{Functions: f.functions}); ok {
				values[a.Name] = given{value: v, at: a.Expr.Range().Ptr(), from: file.Name}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.src.Vars)) {
		if !names[name] {
			f.diags.Problem("Unknown variable", fmt.Sprintf("-var %s=…: there is no variable %q.%s", name, name, diagnostic.Suggest(name, known)), nil)
			continue
		}
		values[name] = given{text: f.src.Vars[name], from: "-var " + name}
	}
	return values
}

// evalVariable evaluates one block. The value is unknown when it is wrong, so
// that what uses it is not blamed too.
func (f *Files) evalVariable(b *hclsyntax.Block, g given) (v cty.Value, sensitive bool) {
	name := b.Labels[0]
	r := f.reader(b.Body, "variable "+name, &hcl.EvalContext{Functions: f.functions})
	want := cty.DynamicPseudoType
	var defaults *typeexpr.Defaults // of optional() attributes
	if e := r.Expr("type"); e != nil {
		t, d, diags := typeexpr.TypeConstraintWithDefaults(e)
		f.diags.HCL(diags)
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
			f.diags.Secret(g.text)
		}
		var ok bool
		if v, ok = f.fromText(g, want, name); !ok {
			return cty.UnknownVal(want.WithoutOptionalAttributesDeep()), sensitive
		}
	case def != nil:
		at = def.Range().Ptr()
		var ok bool
		if v, ok = f.eval(def, r.Ctx); !ok {
			return cty.DynamicVal, sensitive
		}
	default:
		f.diags.Problem("A variable without a value", fmt.Sprintf("variable %q has no default. Give it one, or a value: -var %s=…, HOST_VAR_%s=…, or a line in a file that ends in .auto.hclvars.", name, name, name), at)
		return cty.UnknownVal(want.WithoutOptionalAttributesDeep()), sensitive
	}
	if sensitive {
		v = f.markSecret(v)
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
			f.diags.Problem("Wrong type", fmt.Sprintf("The value of variable %q from %s: %s.", name, g.from, err), b.DefRange().Ptr())
		} else {
			f.diags.Problem("Wrong type", fmt.Sprintf("The value of variable %q: %s.", name, err), at)
		}
		return cty.UnknownVal(want.WithoutOptionalAttributesDeep()), sensitive
	}
	if validation != nil {
		f.validate(validation, name, c)
	}
	return c, sensitive
}

// fromText reads a value from a flag or the environment: as it is for a string,
// as an expression otherwise.
func (f *Files) fromText(g given, want cty.Type, name string) (cty.Value, bool) {
	if want == cty.String || want == cty.DynamicPseudoType {
		return cty.StringVal(g.text), true
	}
	if at, why := syntax.Excess([]byte(g.text), g.from); at != nil || len(g.text) > syntax.MaxFile {
		if at == nil {
			why = fmt.Sprintf("It has over %d MiB.", syntax.MaxFile>>20)
		}
		f.diags.Problem("Out of bounds", fmt.Sprintf("The value of variable %q from %s: %s", name, g.from, why), nil)
		return cty.NilVal, false
	}
	e, diags := hclsyntax.ParseExpression([]byte(g.text), g.from, hcl.InitialPos)
	if diags.HasErrors() {
		return cty.StringVal(g.text), true // convert says what it should be
	}
	// What is wrong with it is for convert to say, in the words of the type.
	v, ok := expression.Eval(e, &hcl.EvalContext{Functions: f.functions}, diagnostic.NewList())
	if !ok {
		return cty.StringVal(g.text), true
	}
	return v, true
}

// validate evaluates validation { condition error_message }.
func (f *Files) validate(r *syntax.Reader, name string, v cty.Value) {
	r.Ctx = &hcl.EvalContext{Functions: f.functions, Variables: map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{name: v})}}
	valid, message := true, "The value is not allowed."
	at := r.Body.SrcRange.Ptr()
	if e := r.Expr("condition"); e != nil {
		at = e.Range().Ptr()
	}
	r.Flag("condition", &valid)
	r.Text("error_message", &message)
	r.Done()
	if !valid {
		f.diags.Problem(fmt.Sprintf("variable %q is not valid", name), message, at)
	}
}

// markSecret marks a value and remembers its strings.
func (f *Files) markSecret(v cty.Value) cty.Value {
	plain, _ := v.UnmarkDeep()
	_ = cty.Walk(plain, func(_ cty.Path, x cty.Value) (bool, error) {
		if x.IsKnown() && !x.IsNull() && (x.Type() == cty.String || x.Type() == cty.Number) {
			if s, err := convert.Convert(x, cty.String); err == nil {
				f.diags.Secret(s.AsString())
			}
		}
		return true, nil
	})
	return plain.Mark(function.Secret)
}

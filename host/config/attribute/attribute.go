// Package attribute turns the attributes of a plugin block into the JSON that
// the plugin gets, by the schema of its manifest.
package attribute

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/expression"
	"github.com/pluginhost/host/host/config/expression/field"
	"github.com/pluginhost/host/host/config/secret"
	"github.com/pluginhost/host/host/config/syntax"
	"github.com/pluginhost/host/host/resource/address"
	"github.com/pluginhost/host/sdk/schema"
)

// Resource is a descriptor that the instance asks for by an attribute of kind
// listener or file.
type Resource struct {
	Attribute string          // path of the attribute, for example listen or tls.cert
	Kind      schema.Kind     // Listener or File
	Value     string          // tcp://127.0.0.1:80, or an absolute path
	Access    string          // of a file
	Listen    address.Address // of a listener: Value, read
	Range     diagnostic.Range
}

// Reader turns the attributes of one instance into the JSON that its plugin
// gets. Each value comes twice: as it is, and as
// it may be shown.
//
// hcldec is not used: its messages know neither the meaning of an attribute nor
// the place of a value inside of it.
type Reader struct {
	Diags   *diagnostic.List
	Ctx     *hcl.EvalContext
	Plugin  string
	Address string // of the instance
	Range   diagnostic.Range
	// Abs makes a path absolute, and Ref reads a reference to an instance as
	// its address.
	Abs func(path string) string
	Ref func(e hclsyntax.Expression) (cty.Value, bool)

	// Resources is what the attributes ask for, in the order of the schema.
	Resources []Resource
	// Values are the attributes that could be evaluated, as they were written.
	Values map[string]cty.Value
}

// Read checks the attributes of a plugin block.
func (v *Reader) Read(fields []schema.Field, attrs map[string]*hclsyntax.Attribute, block *hclsyntax.Block) (config, shown map[string]any) {
	config, shown = map[string]any{}, map[string]any{}
	v.Values = map[string]cty.Value{}
	known := []string{"for_each", "depends_on", "process"}
	for _, f := range fields {
		known = append(known, f.Name)
		a := attrs[f.Name]
		if a == nil {
			v.absent(f, f.Name, config, shown, block.DefRange().Ptr())
			continue
		}
		var x cty.Value
		var ok bool
		if f.Type.Kind == schema.Instance {
			x, ok = cty.StringVal(""), true // value reads the reference
		} else {
			x, ok = expression.Eval(a.Expr, v.Ctx, v.Diags)
		}
		if !ok {
			continue
		}
		v.Values[f.Name] = x
		if plain, _ := x.Unmark(); plain.IsNull() {
			v.absent(f, f.Name, config, shown, a.Expr.Range().Ptr())
			continue
		}
		if c, s, ok := v.value(f, f.Name, x, a.Expr); ok {
			config[f.Name], shown[f.Name] = c, s
		}
	}
	for name, a := range attrs {
		if !slices.Contains(known, name) {
			v.Diags.Problem("Unknown attribute", fmt.Sprintf("The plugin %s has no attribute %q.%s", v.Plugin, name, diagnostic.Suggest(name, known)), a.NameRange.Ptr())
		}
	}
	return config, shown
}

// absent fills in the default of a field, or says that it is required.
func (v *Reader) absent(f schema.Field, path string, config, shown map[string]any, at *hcl.Range) {
	if len(f.Default) > 0 {
		x, err := field.FromJSON(f.Default)
		if err == nil {
			if c, s, ok := v.value(f, path, x, nil); ok {
				config[f.Name], shown[f.Name] = c, s
				return
			}
		}
		v.Diags.Problem("The plugin's default cannot be used", fmt.Sprintf("%s of the plugin %s. That is a fault of the plugin; set the attribute.", path, v.Plugin), at)
		return
	}
	if f.Required {
		doc := ""
		if f.Doc != "" {
			doc = " " + f.Doc
		}
		v.Diags.Problem("A required attribute is missing", fmt.Sprintf("%s needs %s (%s).%s", v.Address, path, f.Type, doc), at)
	}
}

// value checks one value. e, which may be nil, is where it stands.
func (v *Reader) value(f schema.Field, path string, x cty.Value, e hclsyntax.Expression) (config, shown any, ok bool) {
	var at *hcl.Range
	if e != nil {
		at = e.Range().Ptr()
	}
	hidden := f.Type.Kind == schema.Secret || x.IsMarked()
	wrong := func(format string, args ...any) (any, any, bool) {
		detail := fmt.Sprintf(format, args...)
		if hidden { // the detail may quote it, or a part of it
			detail = fmt.Sprintf("It must be %s. What it is is secret and not shown.", wanted(f))
		}
		v.Diags.Problem("Wrong value for "+path, detail, at)
		return nil, nil, false
	}
	x, _ = x.Unmark()
	if !x.IsKnown() {
		return nil, nil, false // what is wrong with it has been told
	}
	if x.IsNull() {
		return wrong("It must not be null.")
	}
	if hidden {
		if s, err := convert.Convert(x, cty.String); err == nil {
			v.Diags.Secret(s.AsString())
		}
	}
	show := func(c, s any) (any, any, bool) {
		if hidden {
			s = secret.Hidden
		}
		return c, s, true
	}
	plain := func(c any) (any, any, bool) { return show(c, c) }
	text := func() (string, error) {
		s, err := convert.Convert(x, cty.String)
		if err != nil {
			return "", err
		}
		return s.AsString(), nil
	}

	switch kind := f.Type.Kind; kind {
	case schema.Any:
		deep, marks := x.UnmarkDeep()
		hidden = hidden || len(marks) > 0
		if !deep.IsWhollyKnown() {
			return nil, nil, false
		}
		b, err := ctyjson.SimpleJSONValue{Value: deep}.MarshalJSON()
		if err != nil {
			return wrong("It cannot be written as JSON.")
		}
		return plain(json.RawMessage(b))
	case schema.Number:
		n, err := convert.Convert(x, cty.Number)
		if err != nil {
			return wrong("It is a number.")
		}
		return plain(json.Number(n.AsBigFloat().Text('f', -1)))
	case schema.Bool:
		t, err := convert.Convert(x, cty.Bool)
		if err != nil {
			return wrong("It is true or false.")
		}
		return plain(t.True())
	case schema.Duration:
		d, err := syntax.ParseDuration(x)
		if err != nil {
			return wrong("%s.", err)
		}
		return show(d.Nanoseconds(), d.String())
	case schema.Bytes:
		n, err := syntax.ParseBytes(x)
		if err != nil {
			return wrong("%s.", err)
		}
		return plain(n)
	case schema.Instance:
		if e != nil { // else it is the schema's default
			if x, ok = v.Ref(e); !ok {
				return nil, nil, false
			}
		}
		if x.Type() != cty.String {
			return wrong("Write plugin.name, or plugin.name[key].")
		}
		return plain(x.AsString())
	case schema.List:
		return v.list(f, path, x, e, show)
	case schema.Map:
		return v.dict(f, path, x, e, show)
	case schema.Object:
		return v.object(f, path, x, e, show)
	default: // all that are written as strings
		if x.Type().IsObjectType() || x.Type().IsTupleType() {
			return wrong("It is a string.")
		}
		s, err := text()
		if err != nil {
			return wrong("It is a string: %s.", err)
		}
		if kind == schema.Listener {
			// The plugin is not told what host changes in place.
			a, problem := v.listener(f, path, s, e)
			if problem != "" {
				return wrong("%s", problem)
			}
			return show(a.Identity(), s)
		}
		c, problem := v.text(f, path, s, e)
		if problem != "" {
			return wrong("%s", problem)
		}
		return plain(c)
	}
}

// wanted says what a value must be.
func wanted(f schema.Field) string {
	if len(f.OneOf) > 0 {
		return "one of " + strings.Join(f.OneOf, ", ")
	}
	switch f.Type.Kind {
	case schema.Duration:
		return `a duration such as "10s"`
	case schema.Bytes:
		return `a number of bytes such as "64KiB"`
	case schema.URL:
		return "an absolute URL"
	case schema.Template:
		return "a template of Go's text/template"
	case schema.Listener:
		return "an address to listen on, such as tcp://127.0.0.1:8080"
	case schema.File:
		return "the path of a file"
	case schema.Executable:
		return "the path of an executable file, with a slash in it"
	case schema.Instance:
		return "an instance"
	case schema.String, schema.Secret:
		return "a string"
	case schema.Bool:
		return "true or false"
	case schema.Number:
		return "a number"
	}
	return f.Type.String()
}

// text checks a string by its meaning and returns what the plugin gets, or what
// is wrong with it.
func (v *Reader) text(f schema.Field, path, s string, e hclsyntax.Expression) (string, string) {
	switch f.Type.Kind {
	case schema.String:
		if len(f.OneOf) > 0 && !slices.Contains(f.OneOf, s) {
			return "", fmt.Sprintf("It cannot be %q.%s", s, diagnostic.Suggest(s, f.OneOf))
		}
	case schema.URL:
		u, err := url.Parse(s)
		if err != nil || !u.IsAbs() || u.Host == "" {
			return "", fmt.Sprintf("%q is not an absolute URL such as https://example.com/path.", s)
		}
	case schema.Template:
		t := parse.New(path)
		t.Mode = parse.SkipFuncCheck
		if _, err := t.Parse(s, "{{", "}}", map[string]*parse.Tree{}); err != nil {
			return "", fmt.Sprintf("It is not a template of Go's text/template: %s.", strings.TrimPrefix(err.Error(), "template: "))
		}
	case schema.File:
		if s == "" || strings.ContainsRune(s, 0) {
			return "", "It is the path of a file."
		}
		s = v.Abs(s)
		r := Resource{Attribute: path, Kind: f.Type.Kind, Value: s, Access: f.Access}
		if r.Access == "" {
			r.Access = "read"
		}
		v.resource(r, e)
	case schema.Executable:
		if !strings.Contains(s, "/") {
			return "", fmt.Sprintf("%q would have to be looked up in PATH, where it may be somebody else's program: write an absolute path, or ./%s for one beside the configuration.", s, s)
		}
		s = v.Abs(s)
		st, err := os.Stat(s)
		switch {
		case err != nil:
			return "", fmt.Sprintf("%s cannot be executed: %s.", s, err)
		case !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0:
			return "", fmt.Sprintf("%s is not an executable file: chmod +x %s.", s, s)
		}
	}
	return s, ""
}

// listener reads where the instance listens, or says what is wrong with it. A
// relative path is beside the configuration, as everywhere.
func (v *Reader) listener(f schema.Field, path, s string, e hclsyntax.Expression) (address.Address, string) {
	a, err := address.Parse(s)
	var unknown *address.OptionError
	switch {
	case errors.As(err, &unknown):
		return a, fmt.Sprintf("A listener has no option %q.%s", unknown.Name, diagnostic.Suggest(unknown.Name, unknown.Known))
	case err != nil:
		hint := ""
		path := strings.TrimPrefix(s, "unix:")
		if !strings.Contains(s, "://") && (path != s || strings.HasPrefix(s, "/")) {
			hint = fmt.Sprintf(" Did you mean %q?", "unix://"+path)
		} else if !strings.Contains(s, "://") && strings.Contains(s, ":") {
			hint = fmt.Sprintf(" Did you mean %q?", "tcp://"+s)
		}
		return a, capital(err.Error()) + "." + hint
	}
	if a.IsPath() && !filepath.IsAbs(a.Path) {
		a.Path = v.Abs(a.Path)
		_, query, _ := strings.Cut(s, "?")
		s = a.Network + "://" + a.Path
		if query != "" {
			s += "?" + query
		}
		if a, err = address.Parse(s); err != nil {
			return a, capital(err.Error()) + "."
		}
	}
	v.resource(Resource{Attribute: path, Kind: f.Type.Kind, Value: s, Listen: a}, e)
	return a, ""
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// resource notes that the instance needs a descriptor.
func (v *Reader) resource(r Resource, e hclsyntax.Expression) {
	r.Range = v.Range
	if e != nil {
		r.Range = diagnostic.ToRange(e.Range())
	}
	v.Resources = append(v.Resources, r)
}

func (v *Reader) list(f schema.Field, path string, x cty.Value, e hclsyntax.Expression, show func(c, s any) (any, any, bool)) (any, any, bool) {
	if t := x.Type(); !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		v.Diags.Problem("Wrong value for "+path, fmt.Sprintf("It is a list of %s, written in brackets: [ … ].", f.Type.Elem), syntax.RangeOf(e))
		return nil, nil, false
	}
	config, shown, all := []any{}, []any{}, true
	i := 0
	for it := x.ElementIterator(); it.Next(); i++ {
		_, el := it.Element()
		c, s, ok := v.value(schema.Field{Type: *f.Type.Elem, OneOf: f.OneOf, Access: f.Access}, fmt.Sprintf("%s[%d]", path, i), el, syntax.ListItem(e, i))
		config, shown, all = append(config, c), append(shown, s), all && ok
	}
	if !all {
		return nil, nil, false
	}
	return show(config, shown)
}

func (v *Reader) dict(f schema.Field, path string, x cty.Value, e hclsyntax.Expression, show func(c, s any) (any, any, bool)) (any, any, bool) {
	if t := x.Type(); !t.IsObjectType() && !t.IsMapType() {
		v.Diags.Problem("Wrong value for "+path, fmt.Sprintf("It is a map of %s, written as { key = value }.", f.Type.Elem), syntax.RangeOf(e))
		return nil, nil, false
	}
	config, shown, all := map[string]any{}, map[string]any{}, true
	for it := x.ElementIterator(); it.Next(); {
		k, el := it.Element()
		key := k.AsString()
		c, s, ok := v.value(schema.Field{Type: *f.Type.Elem, OneOf: f.OneOf, Access: f.Access}, path+"."+key, el, syntax.ObjectItem(e, key))
		config[key], shown[key], all = c, s, all && ok
	}
	if !all {
		return nil, nil, false
	}
	return show(config, shown)
}

func (v *Reader) object(f schema.Field, path string, x cty.Value, e hclsyntax.Expression, show func(c, s any) (any, any, bool)) (any, any, bool) {
	if t := x.Type(); !t.IsObjectType() && !t.IsMapType() {
		v.Diags.Problem("Wrong value for "+path, fmt.Sprintf("It is %s, written as { name = value }.", f.Type), syntax.RangeOf(e))
		return nil, nil, false
	}
	values := x.AsValueMap()
	config, shown, all := map[string]any{}, map[string]any{}, true
	var known []string
	for _, field := range f.Type.Fields {
		known = append(known, field.Name)
		at := path + "." + field.Name
		el, ok := values[field.Name]
		if plain, _ := el.Unmark(); !ok || plain.IsNull() {
			before := v.Diags.Len()
			v.absent(field, at, config, shown, syntax.RangeOf(e))
			all = all && v.Diags.Len() == before
			continue
		}
		c, s, ok := v.value(field, at, el, syntax.ObjectItem(e, field.Name))
		config[field.Name], shown[field.Name], all = c, s, all && ok
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, name) {
			at := syntax.ObjectKey(e, name)
			v.Diags.Problem("Unknown attribute", fmt.Sprintf("%s has no attribute %q.%s", path, name, diagnostic.Suggest(name, known)), at)
			all = false
		}
	}
	if !all {
		return nil, nil, false
	}
	return show(config, shown)
}

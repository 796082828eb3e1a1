package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Bounds of a manifest. A hostile one must not cost its reader much.
const (
	MaxDepth   = 16   // of nested types
	MaxFields  = 256  // of one object, and of the configuration
	MaxTypes   = 8192 // in the whole manifest
	MaxEvents  = 256
	MaxActions = 256
	MaxDoc     = 2048      // bytes of one doc
	MaxDefault = 64 << 10  // bytes of one default
	maxVersion = 64        // bytes
	maxKey     = 128       // bytes of a payload's field name
	maxOneOf   = 64        // values
	maxCaps    = 32        // capabilities
	maxDocs    = 512 << 10 // bytes of all docs and defaults together
)

var (
	namePattern    = pattern(`^[a-z][a-z0-9_]{0,62}$`)
	capPattern     = pattern(`^[a-z][a-z0-9_.:-]{0,62}$`)
	versionPattern = pattern(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
		`(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$`)
)

// pattern is compiled when it is first asked for: that takes longer than all else
// that a command does before it asks its daemon.
func pattern(s string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(s) })
}

// Reserved attribute names and plugin names mean something else in HCL.
var (
	reservedAttributes = []string{"for_each", "depends_on", "process"}
	reservedPlugins    = []string{"host", "var", "local", "each", "event", "self", "true", "false", "null"}
)

// Validate checks a manifest that somebody else wrote. The error joins
// everything that is wrong, up to a bound, and names the place of each.
func (m *Manifest) Validate() error {
	v := &validation{}
	if !namePattern().MatchString(m.Name) {
		v.addf("name", "%.80q is not a plugin name: a lower-case letter, then at most 62 lower-case letters, digits and underscores", m.Name)
	} else if slices.Contains(reservedPlugins, m.Name) {
		v.addf("name", "%q means something else in a configuration; choose another", m.Name)
	}
	if len(m.Version) > maxVersion || !versionPattern().MatchString(m.Version) {
		v.addf("version", "%.80q is not a semantic version such as 1.2.3, without a leading v", m.Version)
	}
	v.doc("doc", m.Doc)
	v.fields("config", m.Config, 1, true)
	for _, f := range m.Config {
		if slices.Contains(reservedAttributes, f.Name) {
			v.addf("config."+f.Name, "the name is the host's own; choose another")
		}
	}
	if len(m.Events) > MaxEvents {
		v.addf("events", "there are %d; at most %d are allowed", len(m.Events), MaxEvents)
	}
	if len(m.Actions) > MaxActions {
		v.addf("actions", "there are %d; at most %d are allowed", len(m.Actions), MaxActions)
	}
	seen := map[string]bool{}
	for _, e := range m.Events[:min(len(m.Events), MaxEvents)] {
		at := v.named("events", e.Name, seen)
		v.doc(at, e.Doc)
		v.typ(at+".data", &e.Data, 1, false)
	}
	clear(seen)
	for _, a := range m.Actions[:min(len(m.Actions), MaxActions)] {
		at := v.named("actions", a.Name, seen)
		v.doc(at, a.Doc)
		v.typ(at+".input", &a.Input, 1, false)
		v.typ(at+".output", &a.Output, 1, false)
	}
	if len(m.Capabilities) > maxCaps {
		v.addf("capabilities", "there are %d; at most %d are allowed", len(m.Capabilities), maxCaps)
	}
	for _, c := range m.Capabilities[:min(len(m.Capabilities), maxCaps)] {
		if !capPattern().MatchString(c) {
			v.addf("capabilities", "%.80q is not the name of a capability", c)
		}
	}
	return errors.Join(v.errs...)
}

// validation collects what is wrong.
type validation struct {
	errs  []error
	types int // met so far
	text  int // bytes of docs and defaults met so far
}

const maxErrors = 20

func (v *validation) addf(at, format string, args ...any) {
	if len(v.errs) < maxErrors {
		v.errs = append(v.errs, fmt.Errorf("%.120s: %s", at, fmt.Sprintf(format, args...)))
	}
}

func (v *validation) named(list, name string, seen map[string]bool) string {
	if !namePattern().MatchString(name) {
		v.addf(list, "%.80q is not a name: a lower-case letter, then lower-case letters, digits and underscores", name)
		return list
	}
	if seen[name] {
		v.addf(list, "%q is declared twice", name)
	}
	seen[name] = true
	return list + "." + name
}

// doc checks text that people will see on a terminal.
func (v *validation) doc(at, s string) {
	v.text += len(s)
	switch {
	case len(s) > MaxDoc:
		v.addf(at, "the doc has %d bytes; at most %d are allowed", len(s), MaxDoc)
	case !plain(s):
		v.addf(at, "the doc has control characters or is not UTF-8")
	case v.text > maxDocs && v.text-len(s) <= maxDocs:
		v.addf(at, "docs and defaults have more than %d bytes together", maxDocs)
	}
}

func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func (v *validation) fields(at string, fields []Field, depth int, config bool) {
	if len(fields) > MaxFields {
		v.addf(at, "there are %d fields; at most %d are allowed", len(fields), MaxFields)
		return
	}
	seen := make(map[string]bool, len(fields))
	for i := range fields {
		f := &fields[i]
		path := at
		if config {
			path = v.named(at, f.Name, seen)
		} else {
			if f.Name == "" || len(f.Name) > maxKey || !plain(f.Name) {
				v.addf(at, "%.80q is not the name of a field", f.Name)
			} else {
				path = at + "." + f.Name
			}
			if seen[f.Name] {
				v.addf(at, "%.80q is declared twice", f.Name)
			}
			seen[f.Name] = true
		}
		v.field(path, f, depth, config)
	}
}

func (v *validation) field(at string, f *Field, depth int, config bool) {
	v.doc(at, f.Doc)
	before := len(v.errs)
	v.typ(at, &f.Type, depth, config)
	if len(f.OneOf) > 0 {
		switch {
		case f.Type.Kind != String:
			v.addf(at, "one_of is for strings, not for %s", f.Type.Kind)
		case len(f.OneOf) > maxOneOf:
			v.addf(at, "one_of has %d values; at most %d are allowed", len(f.OneOf), maxOneOf)
		case slices.ContainsFunc(f.OneOf, func(s string) bool { return len(s) > maxKey || !plain(s) }):
			v.addf(at, "a value of one_of is longer than %d bytes or has control characters", maxKey)
		}
	}
	switch {
	case f.Access == "":
	case f.Type.Kind != File && (f.Type.Kind != List || f.Type.Elem == nil || f.Type.Elem.Kind != File):
		v.addf(at, "access is for files, not for %s", f.Type.Kind)
	case !slices.Contains([]string{"read", "append", "write", "directory"}, f.Access):
		v.addf(at, "access %.40q is none of read, append, write, directory", f.Access)
	}
	if len(f.Default) == 0 || len(v.errs) > before {
		return
	}
	v.text += len(f.Default)
	switch {
	case !config:
		v.addf(at, "a default is for configuration only")
	case f.Required:
		v.addf(at, "a required attribute cannot have a default")
	case len(f.Default) > MaxDefault:
		v.addf(at, "the default has %d bytes; at most %d are allowed", len(f.Default), MaxDefault)
	default:
		if err := CheckDefault(f); err != nil {
			v.addf(at, "default: %v", err)
		}
	}
}

func (v *validation) typ(at string, t *Type, depth int, config bool) {
	v.types++
	if v.types > MaxTypes {
		if v.types == MaxTypes+1 {
			v.addf(at, "the manifest has more than %d types", MaxTypes)
		}
		return
	}
	if depth > MaxDepth {
		v.addf(at, "types are nested more than %d deep", MaxDepth)
		return
	}
	elem, fields := false, false
	switch t.Kind {
	case Any, String, Number, Bool:
	case List, Map:
		elem = true
	case Object:
		fields = true
	case Duration, Bytes, Secret, URL, Template, Listener, File, Executable, Instance:
		if !config {
			v.addf(at, "%s is for configuration; a payload has any, string, number, bool, list, map or object", t.Kind)
		}
	default:
		v.addf(at, "%.40q is not a kind of type", string(t.Kind))
		return
	}
	switch {
	case elem && t.Elem == nil:
		v.addf(at, "%s needs the type of its elements", t.Kind)
	case elem:
		v.typ(at+"[]", t.Elem, depth+1, config)
	case t.Elem != nil:
		v.addf(at, "%s has no elements", t.Kind)
	}
	switch {
	case fields:
		v.fields(at, t.Fields, depth+1, config)
	case len(t.Fields) > 0:
		v.addf(at, "%s has no fields", t.Kind)
	}
}

// CheckDefault checks a field's default, in its HCL form, against its type.
func CheckDefault(f *Field) error {
	d := json.NewDecoder(strings.NewReader(string(f.Default)))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil || d.More() {
		return fmt.Errorf("%.80s is not JSON", f.Default)
	}
	if err := checkValue(&f.Type, value); err != nil {
		return err
	}
	if s, ok := value.(string); ok && len(f.OneOf) > 0 && !slices.Contains(f.OneOf, s) {
		return fmt.Errorf("%.80q is none of %s", s, strings.Join(f.OneOf, ", "))
	}
	return nil
}

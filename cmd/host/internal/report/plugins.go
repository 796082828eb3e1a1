package report

import (
	"encoding/json"
	"path/filepath"

	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/sdk/schema"
)

// Plugins prints every executable that was found, and why it can or cannot be used.
func Plugins(out terminal.Printer, entries []catalog.Entry) {
	rows := [][]string{{"NAME", "VERSION", "STATE", "DIGEST", "FILE"}}
	for _, e := range entries {
		digest := e.Digest
		if len(digest) > 12 {
			digest = digest[:12]
		}
		rows = append(rows, []string{e.Name, e.Version, string(e.State), digest, filepath.Base(e.Path)})
	}
	out.Table(rows...)
	for _, e := range entries {
		if e.Reason != "" {
			out.Printf("%s: %s\n", terminal.Plain(filepath.Base(e.Path)), terminal.Plain(e.Reason))
		}
	}
}

// Plugin prints what a plugin can be configured with, emits and handles.
func Plugin(out terminal.Printer, e catalog.Entry) {
	out.Printf("%s %s  %s\n", e.Name, e.Version, e.State)
	if e.Reason != "" {
		out.Printf("  %s\n", terminal.Plain(e.Reason))
	}
	m := e.Manifest
	if m == nil {
		out.Printf("  %s\n", terminal.Plain(e.Path))
		return
	}
	out.Printf("  %s\n  %s\n  sha256 %s\n", terminal.Plain(m.Doc), terminal.Plain(e.Path), e.Digest)
	if len(m.Config) > 0 {
		out.Printf("\nplugin %q NAME {\n", m.Name)
		out.Table(fieldRows("  ", m.Config, true)...)
		out.Printf("}\n")
	}
	for _, x := range m.Events {
		out.Printf("\nevent %s  %s\n", x.Name, terminal.Plain(x.Doc))
		payload(out, x.Data)
	}
	for _, x := range m.Actions {
		out.Printf("\naction %s  %s\n", x.Name, terminal.Plain(x.Doc))
		out.Printf("  takes\n")
		payload(out, x.Input)
		out.Printf("  returns\n")
		payload(out, x.Output)
	}
}

func payload(out terminal.Printer, t schema.Type) {
	if t.Kind == schema.Object && len(t.Fields) > 0 {
		out.Table(fieldRows("    ", t.Fields, false)...)
		return
	}
	out.Printf("    %s\n", t)
}

// fieldRows describes fields, one a row; nested ones are indented.
func fieldRows(indent string, fields []schema.Field, config bool) [][]string {
	var rows [][]string
	for _, f := range fields {
		note := ""
		switch {
		case f.Required:
			note = "required"
		case len(f.Default) > 0:
			note = "default " + readable(string(f.Default))
		}
		if len(f.OneOf) > 0 {
			b, _ := json.Marshal(f.OneOf) // strings cannot fail
			note += " one of " + string(b)
		}
		name := indent + f.Name
		if config {
			name += " ="
		}
		rows = append(rows, []string{name, string(f.Type.Kind), note, f.Doc})
		nested := f.Type
		for nested.Elem != nil {
			nested = *nested.Elem
		}
		rows = append(rows, fieldRows(indent+"  ", nested.Fields, config)...)
	}
	return rows
}

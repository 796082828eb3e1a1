package main

import (
	"encoding/json"
	"io"

	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/config"
)

// json reports whether the output is JSON.
func (a *app) json() bool { return a.output == "json" }

// printJSON prints one JSON document.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// show prints v as JSON where that is wanted, else what text prints.
func (a *app) show(v any, text func()) error {
	if a.json() {
		return a.printJSON(v)
	}
	text()
	return nil
}

// out is standard output, for people.
func (a *app) out() terminal.Printer { return a.printer(a.stdout) }

// printer prints for people to w.
func (a *app) printer(w io.Writer) terminal.Printer { return terminal.New(w, !a.noColor) }

// diagnose prints diagnostics for people to w.
func (a *app) diagnose(w io.Writer, diags config.Diagnostics) {
	diags.WriteText(w, a.printer(w).Coloured)
}

package report

import (
	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/control"
)

// Outcome prints how the promise of an event sent by hand was settled.
func Outcome(out terminal.Printer, r control.EmitResult) {
	switch {
	case r.Err != nil:
		out.Printf("%s %s: %s\n", r.ID, out.Paint(terminal.Red, "rejected"), terminal.Plain(r.Err.Error()))
	case len(r.Value) > 0:
		out.Printf("%s %s: %s\n", r.ID, out.Paint(terminal.Green, "resolved"), r.Value)
	default:
		out.Printf("%s %s\n", r.ID, out.Paint(terminal.Green, "resolved"))
	}
}

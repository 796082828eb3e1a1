// Package report prints for people what the daemon answers: the status, plans,
// stories of events, plugins. Each function takes a shape of the control API and
// a printer, asks nobody, and decides nothing; the commands call them, and print
// JSON without them but for the Complete functions, which keep lists from being
// null there.
package report

import (
	"fmt"
	"time"

	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/apply"
)

// Progress prints where a transaction is, in a line.
func Progress(out terminal.Printer, p apply.Progress) {
	where := p.Address
	if where != "" {
		where += ": "
	}
	percent := ""
	if p.Percent > 0 && !p.Done {
		percent = fmt.Sprintf(" %d%%", p.Percent)
	}
	out.Printf("%-8s %s%s%s\n", p.Phase, where, terminal.Plain(p.Message), percent)
}

// Reloaded prints what a reload that did not fail made of the configuration.
func Reloaded(out terminal.Printer, r apply.Result) {
	if r.Outcome == apply.Unchanged {
		out.Printf("No changes; generation %d keeps serving (%s).\n", r.Generation, terminal.Short(r.Elapsed))
	} else {
		Plan(out, r.Plan)
		out.Printf("Generation %d is serving (%s).\n", r.Generation, terminal.Short(r.Elapsed))
		if r.Drained {
			out.Printf("The old instances have ended.\n")
		} else if r.Message != "" {
			out.Printf("%s.\n", r.Message)
		}
	}
	if c := r.Confirm; c != nil {
		out.Printf("Unless host confirm follows, the daemon returns to generation %d at %s.\n", c.Back, c.Until.Local().Format(time.TimeOnly))
	}
}

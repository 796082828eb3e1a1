package report

import (
	"strconv"
	"time"

	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
)

// Dead prints the deliveries that failed for good and are kept.
func Dead(out terminal.Printer, d control.DeadList) {
	if len(d.Dead) > 0 {
		rows := [][]string{{"EVENT", "TYPE", "ROUTE", "DIED", "ATTEMPTS", "SUBJECT", "WHY"}}
		for _, x := range d.Dead {
			rows = append(rows, []string{x.Event.String(), x.Type, x.Route, x.Time.Local().Format(time.DateTime),
				strconv.Itoa(len(x.Attempts)), x.Subject, x.Err.Error()})
		}
		out.Table(rows...)
	}
	if len(d.Dead) == 0 {
		out.Printf("No dead deliveries.\n")
	}
	if d.Forgotten > 0 {
		out.Printf("%d older ones were forgotten to make room\n", d.Forgotten)
	}
}

// Replayed prints what became of a dead delivery that was given to its route
// again.
func Replayed(out terminal.Printer, r observe.Replayed) {
	what := r.Event.String()
	if r.Route != "" { // else no route has it
		what += " on route " + r.Route
	}
	if r.Err != nil {
		out.Printf("%s: not replayed: %s\n", what, terminal.Plain(r.Err.Error()))
		return
	}
	out.Printf("%s: replayed\n", what)
}

package report

import (
	"fmt"
	"strings"

	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/observe"
)

// Entry prints one step in the life of an event, in a line.
func Entry(out terminal.Printer, e observe.Entry) {
	step := string(e.Step)
	switch e.Step {
	case observe.Resolved:
		step = out.Paint(terminal.Green, step)
	case observe.Rejected, observe.DeadLettered, observe.Dropped, observe.Refused:
		step = out.Paint(terminal.Red, step)
	}
	line := []string{e.Time.Local().Format("15:04:05.000"), e.Event.String(), e.Type, step}
	if e.Subject != "" && e.Step == observe.Emitted {
		line = append(line, "subject="+terminal.Plain(e.Subject))
	}
	if e.Route != "" {
		line = append(line, "route="+e.Route)
	}
	switch {
	case e.Instance == "" || e.Step == observe.Emitted: // whose it is stands in its type
	case e.Step == observe.Refused:
		line = append(line, "by="+e.Instance)
	default:
		line = append(line, "to="+e.Instance)
	}
	if e.Attempt > 0 {
		line = append(line, fmt.Sprintf("attempt=%d", e.Attempt))
	}
	if e.Elapsed > 0 {
		line = append(line, terminal.Short(e.Elapsed))
	}
	if e.Detail != "" {
		line = append(line, terminal.Plain(e.Detail))
	}
	if e.Err != nil {
		line = append(line, terminal.Plain(e.Err.Error()))
	}
	out.Printf("%s\n", strings.Join(line, "  "))
}

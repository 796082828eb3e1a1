package report

import (
	"fmt"
	"strings"

	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/plan"
)

// CompleteResult makes empty lists of absent ones.
func CompleteResult(r apply.Result) apply.Result {
	if r.Diagnostics == nil {
		r.Diagnostics = config.Diagnostics{}
	}
	if r.Plan != nil {
		p := *r.Plan
		if p.Steps == nil {
			p.Steps = []plan.Step{}
		}
		if p.Routes == nil {
			p.Routes = []plan.Change{}
		}
		r.Plan = &p
	}
	return r
}

// Plan prints the steps that change something.
func Plan(out terminal.Printer, p *plan.Plan) {
	if p == nil {
		return
	}
	if p.Empty() {
		out.Printf("No changes.\n")
		return
	}
	n := map[plan.Op]int{}
	for _, s := range p.Steps {
		n[s.Op]++
		mark, ok := map[plan.Op]string{plan.Start: out.Paint(terminal.Green, "+"), plan.Stop: out.Paint(terminal.Red, "-"),
			plan.Replace: out.Paint(terminal.Yellow, "±"), plan.Update: out.Paint(terminal.Yellow, "~")}[s.Op]
		if !ok {
			continue
		}
		line := fmt.Sprintf("%s %s %s", mark, s.Op, s.Address)
		if s.Reason != "" {
			line += ": " + s.Reason
		}
		if d := drains(s.Drains); d != "" {
			line += " (" + d + ")"
		}
		out.Printf("%s\n", line)
		changes(out, s.Changes)
	}
	for _, c := range p.Routes {
		mark := out.Paint(terminal.Yellow, "~")
		switch {
		case c.Old == "":
			mark = out.Paint(terminal.Green, "+")
		case c.New == "":
			mark = out.Paint(terminal.Red, "-")
		}
		out.Printf("%s route %s\n", mark, c.Name)
		changes(out, []plan.Change{{Old: c.Old, New: c.New}})
	}
	out.Printf("%d to start, %d to replace, %d to update, %d to stop, %d untouched; %s changed.\n",
		n[plan.Start], n[plan.Replace], n[plan.Update], n[plan.Stop], p.Kept, terminal.Count(len(p.Routes), "route"))
}

// drains says what an instance that leaves still finishes.
func drains(d plan.Drains) string {
	var parts []string
	if d.Connections > 0 {
		parts = append(parts, terminal.Count(d.Connections, "connection"))
	}
	switch {
	case d.Deliveries == 1:
		parts = append(parts, "1 delivery")
	case d.Deliveries > 1:
		parts = append(parts, fmt.Sprintf("%d deliveries", d.Deliveries))
	}
	if len(parts) == 0 {
		return ""
	}
	verb := " drain"
	if d.Connections+d.Deliveries == 1 {
		verb = " drains"
	}
	return strings.Join(parts, " and ") + verb
}

func changes(out terminal.Printer, changes []plan.Change) {
	for _, c := range changes {
		c.Old, c.New = readable(c.Old), readable(c.New)
		name := c.Name
		if name != "" {
			name += ": "
		}
		switch {
		case c.Old == "":
			out.Printf("    %s%s\n", name, terminal.Plain(c.New))
		case c.New == "":
			out.Printf("    %s%s → (none)\n", name, terminal.Plain(c.Old))
		default:
			out.Printf("    %s%s → %s\n", name, terminal.Plain(c.Old), terminal.Plain(c.New))
		}
	}
}

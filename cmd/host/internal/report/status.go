package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/observe"
)

// CompleteStatus makes empty lists of absent ones, so that whoever reads the
// JSON finds them.
func CompleteStatus(s observe.Status) observe.Status {
	if s.Instances == nil {
		s.Instances = []observe.Instance{}
	}
	if s.Subsystems == nil {
		s.Subsystems = []observe.Subsystem{}
	}
	if s.Routes == nil {
		s.Routes = []observe.Route{}
	}
	if s.Draining == nil {
		s.Draining = []observe.Draining{}
	}
	if s.Reasons == nil {
		s.Reasons = []observe.Reason{}
	}
	return s
}

// Status prints how the daemon and its instances are. The times are told from now.
func Status(out terminal.Printer, s observe.Status, now time.Time) {
	out.Printf("%s  generation %d  pid %d  up %s  version %s\n", light(out, s.Light), s.Generation, s.Pid,
		terminal.Short(now.Sub(s.Started)), s.Version)
	if s.Reason != "" {
		out.Printf("  %s\n", terminal.Plain(s.Reason))
	}
	out.Printf("configuration %s\n", terminal.Plain(s.ConfigDir))
	if s.Aside != "" {
		out.Printf("  %s\n", terminal.Plain(s.Aside))
	}

	rows := [][]string{{"INSTANCE", "PLUGIN", "STATE", "PID", "RESTARTS", "IN FLIGHT", "LISTENS"}}
	for _, i := range s.Instances {
		listens := ""
		if len(i.Listeners) > 0 {
			listens = i.Listeners[0]
		}
		pid := ""
		if i.Pid != 0 {
			pid = fmt.Sprint(i.Pid)
		}
		rows = append(rows, []string{i.Address, i.Plugin + " " + i.Version, i.State, pid, fmt.Sprint(i.Restarts), fmt.Sprint(i.InFlight), listens})
	}
	out.Printf("\n")
	out.Table(rows...)
	for _, i := range s.Instances {
		if i.Reason == "" {
			continue
		}
		out.Printf("%s %s: %s\n", light(out, i.Light), i.Address, terminal.Plain(i.Reason))
		for _, l := range i.Stderr {
			out.Printf("    %s\n", terminal.Plain(l))
		}
	}
	if len(s.Routes) > 0 {
		rows = [][]string{{"ROUTE", "FROM", "TO", "QUEUED", "IN FLIGHT", "RESOLVED", "REJECTED", "DEAD", "RETRIES"}}
		for _, r := range s.Routes {
			rows = append(rows, []string{r.Name, r.From, r.To, fmt.Sprint(r.Queued), fmt.Sprint(r.InFlight),
				fmt.Sprint(r.Resolved), fmt.Sprint(r.Rejected), fmt.Sprint(r.Dead), fmt.Sprint(r.Retries)})
		}
		out.Printf("\n")
		out.Table(rows...)
	}
	waits(out, s)
	e := s.Events
	out.Printf("\nevents: %d accepted = %d resolved + %d rejected + %d pending", e.Accepted, e.Resolved, e.Rejected, e.Pending)
	if e.Dead+e.Dropped > 0 {
		out.Printf(" + %d dead + %d dropped", e.Dead, e.Dropped)
	}
	out.Printf("\n")
	if len(s.Reasons) > 0 {
		out.Printf("rejected: %s\n", reasons(s.Reasons))
	}
	if s.Dead > 0 {
		out.Printf("%d dead %s kept; host events dead shows them\n", s.Dead, map[bool]string{true: "delivery is", false: "deliveries are"}[s.Dead == 1])
	}
	for _, x := range s.Subsystems {
		if x.Light != observe.Green && x.Name+": "+x.Reason != s.Reason { // that one stands at the top
			out.Printf("%s %s: %s\n", light(out, x.Light), x.Name, terminal.Plain(x.Reason))
		}
	}
	for _, d := range s.Draining {
		out.Printf("draining %s of generation %d, %d in flight\n", d.Address, d.Generation, d.InFlight)
	}
	if r := s.Reloading; r != nil {
		out.Printf("reload: %s for %s, asked for by %s %s ago\n", r.Phase, terminal.Short(now.Sub(r.Since)), terminal.Plain(r.Command), terminal.Short(now.Sub(r.Started)))
	}
	if c := s.Confirm; c != nil {
		out.Printf("on probation: unless host confirm follows, the daemon returns to generation %d at %s\n", c.Back, c.Until.Local().Format(time.DateTime))
	}
	if r := s.LastReload; r != nil {
		out.Printf("last reload: %s, %s ago, took %s\n", r.Outcome, terminal.Short(now.Sub(r.Time)), terminal.Short(r.Elapsed))
	}
}

// waits says for what instances and routes wait, and why routes failed.
func waits(out terminal.Printer, s observe.Status) {
	for _, i := range s.Instances {
		if i.Waits != "" {
			out.Printf("%s %s\n", i.Address, terminal.Plain(i.Waits))
		}
		if i.Refused > 0 {
			out.Printf("%s was refused %s to act as somebody else\n", i.Address, terminal.Count(int(i.Refused), "attempt"))
		}
	}
	for _, r := range s.Routes {
		if r.Waits != "" {
			out.Printf("route %s %s\n", r.Name, terminal.Plain(r.Waits))
		}
		if r.Detached > 0 {
			out.Printf("route %s has %d detached, waiting for whoever has their token\n", r.Name, r.Detached)
		}
		if len(r.Reasons) > 0 {
			out.Printf("route %s failed: %s\n", r.Name, reasons(r.Reasons))
		}
	}
}

// outcome are the reasons that are not something that happened to a delivery.
var outcome = map[string]string{
	"rejected":  "given up, because another route rejected the promise",
	"withdrawn": "given up, because the emitter withdrew the event",
}

// reasons shows what ended without success: 3 dead by crashed, 1 rejected by queue_full.
func reasons(all []observe.Reason) string {
	parts := make([]string, len(all))
	for n, r := range all {
		parts[n] = fmt.Sprintf("%d %s by %s", r.Count, r.Ending, terminal.Plain(r.Reason))
		if why := outcome[r.Reason]; why != "" {
			parts[n] = fmt.Sprintf("%d %s", r.Count, why)
		}
	}
	return strings.Join(parts, ", ")
}

func light(out terminal.Printer, l observe.Light) string {
	colour := map[observe.Light]terminal.Colour{observe.Green: terminal.Green, observe.Yellow: terminal.Yellow, observe.Red: terminal.Red}[l]
	return out.Paint(colour, string(l))
}

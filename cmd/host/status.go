package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/host/observe"
)

func statusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how the daemon and its instances are",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(full(s))
			}
			a.printStatus(s)
			return nil
		},
	}
}

// full makes empty lists of absent ones, so that whoever reads the JSON finds
// them.
func full(s observe.Status) observe.Status {
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

func (a *app) printStatus(s observe.Status) {
	w := a.stdout
	_, _ = fmt.Fprintf(w, "%s  generation %d  pid %d  up %s  version %s\n", a.light(w, s.Light), s.Generation, s.Pid,
		short(time.Since(s.Started)), s.Version)
	if s.Reason != "" {
		_, _ = fmt.Fprintf(w, "  %s\n", plain(s.Reason))
	}
	_, _ = fmt.Fprintf(w, "configuration %s\n", plain(s.ConfigDir))

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
	_, _ = fmt.Fprintln(w)
	table(w, rows...)
	for _, i := range s.Instances {
		if i.Light == observe.Green {
			continue
		}
		_, _ = fmt.Fprintf(w, "%s %s: %s\n", a.light(w, i.Light), i.Address, plain(i.Reason))
		for _, l := range i.Stderr {
			_, _ = fmt.Fprintf(w, "    %s\n", plain(l))
		}
	}
	if len(s.Routes) > 0 {
		rows = [][]string{{"ROUTE", "FROM", "TO", "QUEUED", "IN FLIGHT", "RESOLVED", "REJECTED", "DEAD", "RETRIES"}}
		for _, r := range s.Routes {
			rows = append(rows, []string{r.Name, r.From, r.To, fmt.Sprint(r.Queued), fmt.Sprint(r.InFlight),
				fmt.Sprint(r.Resolved), fmt.Sprint(r.Rejected), fmt.Sprint(r.Dead), fmt.Sprint(r.Retries)})
		}
		_, _ = fmt.Fprintln(w)
		table(w, rows...)
	}
	printWaits(w, s)
	e := s.Events
	_, _ = fmt.Fprintf(w, "\nevents: %d accepted = %d resolved + %d rejected + %d pending", e.Accepted, e.Resolved, e.Rejected, e.Pending)
	if e.Dead+e.Dropped > 0 {
		_, _ = fmt.Fprintf(w, " + %d dead + %d dropped", e.Dead, e.Dropped)
	}
	_, _ = fmt.Fprintln(w)
	if len(s.Reasons) > 0 {
		_, _ = fmt.Fprintf(w, "rejected: %s\n", reasons(s.Reasons))
	}
	if s.Dead > 0 {
		_, _ = fmt.Fprintf(w, "%s kept; host events dead shows them\n", fmt.Sprint(s.Dead, " dead deliveries are"))
	}
	for _, x := range s.Subsystems {
		if x.Light != observe.Green && x.Name+": "+x.Reason != s.Reason { // that one stands at the top
			_, _ = fmt.Fprintf(w, "%s %s: %s\n", a.light(w, x.Light), x.Name, plain(x.Reason))
		}
	}
	for _, d := range s.Draining {
		_, _ = fmt.Fprintf(w, "draining %s of generation %d, %d in flight\n", d.Address, d.Generation, d.InFlight)
	}
	if r := s.Reloading; r != nil {
		_, _ = fmt.Fprintf(w, "reload: %s for %s, asked for by %s %s ago\n", r.Phase, short(time.Since(r.Since)), plain(r.Command), short(time.Since(r.Started)))
	}
	if c := s.Confirm; c != nil {
		_, _ = fmt.Fprintf(w, "on probation: unless host confirm follows, the daemon returns to generation %d at %s\n", c.Back, c.Until.Local().Format(time.DateTime))
	}
	if r := s.LastReload; r != nil {
		_, _ = fmt.Fprintf(w, "last reload: %s, %s ago, took %s\n", r.Outcome, short(time.Since(r.Time)), short(r.Elapsed))
	}
}

// printWaits says for what instances and routes wait, and why routes failed.
func printWaits(w io.Writer, s observe.Status) {
	for _, i := range s.Instances {
		if i.Waits != "" {
			_, _ = fmt.Fprintf(w, "%s %s\n", i.Address, plain(i.Waits))
		}
		if i.Refused > 0 {
			_, _ = fmt.Fprintf(w, "%s was refused %s to act as somebody else\n", i.Address, count(int(i.Refused), "attempt"))
		}
	}
	for _, r := range s.Routes {
		if r.Waits != "" {
			_, _ = fmt.Fprintf(w, "route %s %s\n", r.Name, plain(r.Waits))
		}
		if r.Detached > 0 {
			_, _ = fmt.Fprintf(w, "route %s has %d detached, waiting for whoever has their token\n", r.Name, r.Detached)
		}
		if len(r.Reasons) > 0 {
			_, _ = fmt.Fprintf(w, "route %s failed: %s\n", r.Name, reasons(r.Reasons))
		}
	}
}

// reasons shows what ended without success: 3 dead by crashed, 1 rejected by queue_full.
func reasons(all []observe.Reason) string {
	parts := make([]string, len(all))
	for n, r := range all {
		parts[n] = fmt.Sprintf("%d %s by %s", r.Count, r.Ending, plain(r.Reason))
	}
	return strings.Join(parts, ", ")
}

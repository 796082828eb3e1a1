package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/plan"
)

func planCommand(a *app) *cobra.Command {
	var detailed, quiet bool
	var out string
	var hold time.Duration
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what a reload would change",
		Long: `Show what a reload would change. The daemon reserves what the new instances need
and has them verified, then gives it back. With --out it holds what it reserved
until host reload --plan applies the plan, another reload is committed, or --hold
is over.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.noValues("plan"); err != nil {
				return err
			}
			if out == "" && cmd.Flags().Changed("hold") {
				return wrong(cmd, "--hold needs --out: only a plan in a file can be applied")
			}
			if out == "" {
				hold = 0
			} else if hold <= 0 || hold > apply.MaxHold {
				return wrong(cmd, "--hold %s: more than nothing and at most %s", hold, apply.MaxHold)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.Plan(cmd.Context(), hold, a.progress(quiet))
			if err != nil {
				return err
			}
			if r.Held != nil {
				if err := writePlan(out, r); err != nil {
					return err
				}
			}
			if a.json() {
				if err := a.printJSON(listed(r)); err != nil {
					return err
				}
			} else {
				r.Diagnostics.WriteText(a.stdout, a.color(a.stdout))
				a.printPlan(a.stdout, r.Plan)
				if r.Held != nil {
					_, _ = fmt.Fprintf(a.stdout, "What it needs is held until %s: host reload --plan %s\n", r.Held.Expires.Local().Format(time.TimeOnly), out)
				}
			}
			switch {
			case r.Outcome == apply.Invalid:
				return a.refused(r)
			case r.Outcome == apply.RolledBack || r.Outcome == apply.Superseded:
				return a.notApplied(r)
			case detailed && r.Outcome == apply.Changes:
				return &exit{exitChanges, ""}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&detailed, "detailed-exitcode", false, "exit 2 when there are changes")
	f.BoolVarP(&quiet, "quiet", "q", false, "no progress, which is shown on a terminal only")
	f.StringVar(&out, "out", "", "write the plan to this file and hold what it needs")
	f.DurationVar(&hold, "hold", 10*time.Minute, "how long the plan of --out is held")
	return cmd
}

// planFile is what plan --out writes and reload --plan reads.
type planFile struct {
	Held apply.Held `json:"held"`
	Plan *plan.Plan `json:"plan"`
}

func writePlan(path string, r apply.Result) error {
	b, err := json.MarshalIndent(planFile{*r.Held, r.Plan}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}

func readPlan(path string) (*apply.Held, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var p planFile
	if err := json.Unmarshal(b, &p); err != nil || p.Held.ID == "" {
		return nil, fmt.Errorf("%s is not a plan of host plan --out", path)
	}
	return &p.Held, nil
}

// progress prints progress where somebody looks.
func (a *app) progress(quiet bool) func(apply.Progress) {
	return func(p apply.Progress) {
		if !quiet && !a.json() && terminal(a.stderr) {
			a.printProgress(p)
		}
	}
}

// notApplied is the exit for what was undone before the commit.
func (a *app) notApplied(r apply.Result) error {
	message := fmt.Sprintf("%s: %s; generation %d keeps serving", r.Outcome, r.Message, r.Generation)
	if a.json() {
		message = ""
	}
	return &exit{exitRolledBack, message}
}

// refused is the exit for a configuration that is invalid.
func (a *app) refused(r apply.Result) error {
	message := fmt.Sprintf("the configuration is invalid; generation %d keeps serving", r.Generation)
	if a.json() {
		message = ""
	}
	return &exit{exitInvalid, message}
}

// listed makes empty lists of absent ones.
func listed(r apply.Result) apply.Result {
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

// printPlan prints the steps that change something.
func (a *app) printPlan(w io.Writer, p *plan.Plan) {
	if p == nil {
		return
	}
	if p.Empty() {
		_, _ = fmt.Fprintln(w, "No changes.")
		return
	}
	n := map[plan.Op]int{}
	for _, s := range p.Steps {
		n[s.Op]++
		mark, ok := map[plan.Op]string{plan.Start: a.paint(w, "32", "+"), plan.Stop: a.paint(w, "31", "-"),
			plan.Replace: a.paint(w, "33", "±"), plan.Update: a.paint(w, "33", "~")}[s.Op]
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
		_, _ = fmt.Fprintln(w, line)
		a.printChanges(w, s.Changes)
	}
	for _, c := range p.Routes {
		mark := a.paint(w, "33", "~")
		switch {
		case c.Old == "":
			mark = a.paint(w, "32", "+")
		case c.New == "":
			mark = a.paint(w, "31", "-")
		}
		_, _ = fmt.Fprintf(w, "%s route %s\n", mark, c.Name)
		a.printChanges(w, []plan.Change{{Old: c.Old, New: c.New}})
	}
	_, _ = fmt.Fprintf(w, "%d to start, %d to replace, %d to update, %d to stop, %d untouched; %s changed.\n",
		n[plan.Start], n[plan.Replace], n[plan.Update], n[plan.Stop], p.Kept, count(len(p.Routes), "route"))
}

// drains says what an instance that leaves still finishes.
func drains(d plan.Drains) string {
	var parts []string
	if d.Connections > 0 {
		parts = append(parts, count(d.Connections, "connection"))
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

func (a *app) printChanges(w io.Writer, changes []plan.Change) {
	for _, c := range changes {
		name := c.Name
		if name != "" {
			name += ": "
		}
		switch {
		case c.Old == "":
			_, _ = fmt.Fprintf(w, "    %s%s\n", name, plain(c.New))
		case c.New == "":
			_, _ = fmt.Fprintf(w, "    %s%s → (none)\n", name, plain(c.Old))
		default:
			_, _ = fmt.Fprintf(w, "    %s%s → %s\n", name, plain(c.Old), plain(c.New))
		}
	}
}

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/plan"
)

func planCommand(a *app) *cobra.Command {
	var detailed bool
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what a reload would change",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.noValues("plan"); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.Plan(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				if err := a.printJSON(listed(r)); err != nil {
					return err
				}
			} else {
				r.Diagnostics.WriteText(a.stdout, a.color(a.stdout))
				a.printPlan(a.stdout, r.Plan)
			}
			switch {
			case r.Outcome == apply.Invalid:
				return a.refused(r)
			case detailed && r.Plan != nil && !r.Plan.Empty():
				return &exit{exitChanges, ""}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit 2 when there are changes")
	return cmd
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
		n[plan.Start], n[plan.Replace], n[plan.Update], n[plan.Stop], n[plan.Keep], count(len(p.Routes), "route"))
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

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/host/apply"
)

func reloadCommand(a *app) *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Apply the configuration on disk: all of it or nothing",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.noValues("reload"); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.Reload(cmd.Context(), func(p apply.Progress) {
				if !quiet && !a.json() && terminal(a.stderr) {
					a.printProgress(p)
				}
			})
			if err != nil {
				return err
			}
			if a.json() {
				if err := a.printJSON(listed(r)); err != nil {
					return err
				}
			} else {
				r.Diagnostics.WriteText(a.stdout, a.color(a.stdout))
			}
			return a.reloaded(r)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress, which is shown on a terminal only")
	return cmd
}

func (a *app) printProgress(p apply.Progress) {
	where := p.Address
	if where != "" {
		where += ": "
	}
	percent := ""
	if p.Percent > 0 && !p.Done {
		percent = fmt.Sprintf(" %d%%", p.Percent)
	}
	_, _ = fmt.Fprintf(a.stderr, "%-8s %s%s%s\n", p.Phase, where, plain(p.Message), percent)
}

// reloaded prints how a reload ended and makes the exit of it.
func (a *app) reloaded(r apply.Result) error {
	say := func(format string, args ...any) {
		if !a.json() {
			_, _ = fmt.Fprintf(a.stdout, format, args...)
		}
	}
	why := func(message string) string {
		if a.json() {
			return ""
		}
		return message
	}
	switch r.Outcome {
	case apply.Committed:
		if !a.json() {
			a.printPlan(a.stdout, r.Plan)
		}
		say("Generation %d is serving (%s).\n", r.Generation, short(r.Elapsed))
	case apply.Unchanged:
		say("No changes; generation %d keeps serving (%s).\n", r.Generation, short(r.Elapsed))
	case apply.Invalid:
		return a.refused(r)
	default:
		return &exit{exitRolledBack, why(fmt.Sprintf("%s: %s; generation %d keeps serving", r.Outcome, r.Message, r.Generation))}
	}
	return nil
}

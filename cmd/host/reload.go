package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/host/apply"
)

func reloadCommand(a *app) *cobra.Command {
	var quiet bool
	var file string
	var req apply.Request
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Apply the configuration on disk: all of it or nothing",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.noValues("reload"); err != nil {
				return err
			}
			if file != "" {
				held, err := readPlan(file)
				if err != nil {
					return err
				}
				req.Plan = held
			}
			return a.reload(cmd, req, quiet)
		},
	}
	a.reloadFlags(cmd, &req, &quiet)
	cmd.Flags().StringVar(&file, "plan", "", "apply the plan that host plan --out wrote to this file, and no other")
	return cmd
}

// reloadFlags are the flags of everything that makes a generation.
func (a *app) reloadFlags(cmd *cobra.Command, req *apply.Request, quiet *bool) {
	f := cmd.Flags()
	f.BoolVarP(quiet, "quiet", "q", false, "no progress, which is shown on a terminal only")
	f.BoolVar(&req.Wait, "wait", false, "wait until the old instances have ended")
	f.DurationVar(&req.Confirm, "confirm", 0, "return to the generation before unless host confirm follows within this time")
}

// reload has a generation made, and prints what became of it.
func (a *app) reload(cmd *cobra.Command, req apply.Request, quiet bool) error {
	if cmd.Flags().Changed("confirm") && (req.Confirm < time.Second || req.Confirm > 24*time.Hour) {
		return wrong(cmd, "--confirm %s: at least 1s and at most 24h", req.Confirm)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.Reload(cmd.Context(), req, a.progress(quiet))
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
	switch r.Outcome {
	case apply.Committed:
		if !a.json() {
			a.printPlan(a.stdout, r.Plan)
		}
		say("Generation %d is serving (%s).\n", r.Generation, short(r.Elapsed))
		if r.Drained {
			say("The old instances have ended.\n")
		} else if r.Message != "" {
			say("%s.\n", r.Message)
		}
	case apply.Unchanged:
		say("No changes; generation %d keeps serving (%s).\n", r.Generation, short(r.Elapsed))
	case apply.Invalid:
		return a.refused(r)
	default:
		return a.notApplied(r)
	}
	if c := r.Confirm; c != nil {
		say("Unless host confirm follows, the daemon returns to generation %d at %s.\n", c.Back, c.Until.Local().Format(time.TimeOnly))
	}
	return nil
}

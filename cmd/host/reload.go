package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/planfile"
	"github.com/pluginhost/host/cmd/host/internal/report"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host/apply"
)

func reloadCommand(a *app) *cobra.Command {
	var quiet bool
	var file string
	var req apply.Request
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Apply the configuration on disk: all of it or nothing",
		Args:  usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.noValues("reload"); err != nil {
				return err
			}
			if file != "" {
				held, err := planfile.Read(file)
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
		return usage.Wrong(cmd, "--confirm %s: at least 1s and at most 24h", req.Confirm)
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
	done := r.Outcome == apply.Committed || r.Outcome == apply.Unchanged
	err = a.show(report.CompleteResult(r), func() {
		a.diagnose(a.stdout, r.Diagnostics)
		if done {
			report.Reloaded(a.out(), r)
		}
	})
	switch {
	case err != nil || done:
		return err
	case r.Outcome == apply.Invalid:
		return a.refused(r)
	}
	return a.notApplied(r)
}

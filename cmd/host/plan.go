package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/planfile"
	"github.com/pluginhost/host/cmd/host/internal/report"
	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host/apply"
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
		Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.noValues("plan"); err != nil {
				return err
			}
			if out == "" && cmd.Flags().Changed("hold") {
				return usage.Wrong(cmd, "--hold needs --out: only a plan in a file can be applied")
			}
			if out == "" {
				hold = 0
			} else if hold <= 0 || hold > apply.MaxHold {
				return usage.Wrong(cmd, "--hold %s: more than nothing and at most %s", hold, apply.MaxHold)
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
				if err := planfile.Write(out, r); err != nil {
					return err
				}
			}
			err = a.show(report.CompleteResult(r), func() {
				a.diagnose(a.stdout, r.Diagnostics)
				report.Plan(a.out(), r.Plan)
				if r.Held != nil {
					a.out().Printf("What it needs is held until %s: host reload --plan %s\n", r.Held.Expires.Local().Format(time.TimeOnly), out)
				}
			})
			if err != nil {
				return err
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

// progress prints progress where somebody looks, and is nil where nobody does.
func (a *app) progress(quiet bool) func(apply.Progress) {
	if quiet || a.json() || !terminal.Is(a.stderr) {
		return nil
	}
	return func(p apply.Progress) { report.Progress(a.printer(a.stderr), p) }
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

package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/generation"
)

func rollbackCommand(a *app) *cobra.Command {
	var quiet bool
	req := apply.Request{Return: true}
	cmd := &cobra.Command{
		Use:   "rollback [GENERATION]",
		Short: "Return to an earlier generation",
		Long: `Return to the configuration of an earlier generation: of the one before, or of
the one given. It is applied like any other, as a new generation. The files on
disk stay as they are; host reload applies them again.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				n, err := strconv.ParseUint(args[0], 10, 64)
				if err != nil || n == 0 {
					return wrong(cmd, "%q is not the number of a generation; host generations lists them", args[0])
				}
				req.To = n
			}
			return a.reload(cmd, req, quiet)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "no progress, which is shown on a terminal only")
	f.BoolVar(&req.Wait, "wait", false, "wait until the old instances have ended")
	return cmd
}

func confirmCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "confirm",
		Short: "Keep the generation that waits for it",
		Long: `Keep the generation that host reload --confirm made: the daemon does not return to
the one before.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			g, err := c.Confirm(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]any{"generation": g})
			}
			_, _ = fmt.Fprintf(a.stdout, "Generation %d is confirmed.\n", g)
			return nil
		},
	}
}

func generationsCommand(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "generations",
		Short: "Show who changed what, when, and how it ended",
		Long: `Show the attempts to change what is serving, newest first: who, when, what, and
how it ended. Those whose generation is kept can be returned to with host
rollback.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			g, err := c.Generations(cmd.Context())
			if err != nil {
				return err
			}
			if g.Kept == nil {
				g.Kept = []control.Kept{}
			}
			if g.Attempts == nil {
				g.Attempts = []generation.Attempt{}
			}
			if a.json() {
				return a.printJSON(g)
			}
			a.printGenerations(g, all)
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "phases", false, "show when each phase began")
	return cmd
}

func (a *app) printGenerations(g control.Generations, phases bool) {
	kept := map[uint64]control.Kept{}
	for _, k := range g.Kept {
		kept[k.Generation] = k
	}
	rows := [][]string{{"GENERATION", "WHEN", "WHO", "COMMAND", "ENDED", "TOOK", "WHAT"}}
	for i := len(g.Attempts) - 1; i >= 0; i-- {
		x := g.Attempts[i]
		number := ""
		if x.Outcome == string(apply.Committed) {
			number = strconv.FormatUint(x.Generation, 10)
			k, ok := kept[x.Generation]
			switch {
			case !ok:
				number += " (gone)"
			case k.Serving:
				number += " serving"
			}
		}
		took := ""
		if !x.Ended.IsZero() {
			took = short(x.Ended.Sub(x.Started))
		}
		ended := x.Outcome
		if ended == "" {
			ended = "runs"
		}
		what := x.Summary
		if x.Message != "" {
			what = x.Message
		}
		rows = append(rows, []string{number, x.Started.Local().Format(time.DateTime), x.Who.User, x.Who.Command, ended, took, what})
		if phases {
			for _, s := range x.Steps {
				rows = append(rows, []string{"", "  +" + short(s.Time.Sub(x.Started)), "", "  " + s.Phase})
			}
		}
	}
	table(a.stdout, rows...)
	for _, k := range g.Kept {
		if k.Serving && k.Confirm != nil {
			_, _ = fmt.Fprintf(a.stdout, "Unless host confirm follows, the daemon returns to generation %d at %s.\n", k.Confirm.Back, k.Confirm.Until.Local().Format(time.DateTime))
		}
	}
}

package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/report"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/control"
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
					return usage.Wrong(cmd, "%q is not the number of a generation; host generations lists them", args[0])
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
		Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			g, err := ask(cmd.Context(), a, (*control.Client).Confirm)
			if err != nil {
				return err
			}
			return a.show(map[string]any{"generation": g}, func() { a.out().Printf("Generation %d is confirmed.\n", g) })
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
		Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			g, err := ask(cmd.Context(), a, (*control.Client).Generations)
			if err != nil {
				return err
			}
			return a.show(report.CompleteGenerations(g), func() { report.Generations(a.out(), g, all) })
		},
	}
	cmd.Flags().BoolVar(&all, "phases", false, "show when each phase began")
	return cmd
}

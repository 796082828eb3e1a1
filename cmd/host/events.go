package main

import "github.com/spf13/cobra"

func eventsCommand(a *app) *cobra.Command {
	cmd := group("events", "Show what happens to events")
	cmd.AddCommand(tailCommand(a), showCommand(a), whyCommand(a), settleCommand(a), deadCommand(a), replayCommand(a))
	return cmd
}

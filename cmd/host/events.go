package main

import "github.com/spf13/cobra"

func eventsCommand(a *app) *cobra.Command {
	cmd := group("events", "Show what happens to events")
	cmd.AddCommand(tailCommand(a))
	return cmd
}

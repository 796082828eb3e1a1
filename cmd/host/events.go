package main

import (
	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/usage"
)

func eventsCommand(a *app) *cobra.Command {
	cmd := usage.Group("events", "Show what happens to events")
	cmd.AddCommand(tailCommand(a), showCommand(a), whyCommand(a), settleCommand(a), deadCommand(a), replayCommand(a))
	return cmd
}

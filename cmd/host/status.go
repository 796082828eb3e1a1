package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/report"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host/control"
)

func statusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how the daemon and its instances are",
		Args:  usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := ask(cmd.Context(), a, (*control.Client).Status)
			if err != nil {
				return err
			}
			return a.show(report.CompleteStatus(s), func() { report.Status(a.out(), s, time.Now()) })
		},
	}
}

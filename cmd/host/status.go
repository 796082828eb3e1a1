package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/report"
)

func statusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how the daemon and its instances are",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(report.CompleteStatus(s), func() { report.Status(a.out(), s, time.Now()) })
		},
	}
}

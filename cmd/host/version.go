package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/usage"
)

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: usage.None,
		RunE: func(*cobra.Command, []string) error {
			if a.json() {
				return a.printJSON(map[string]string{"version": version})
			}
			_, err := fmt.Fprintln(a.stdout, "host "+strings.TrimPrefix(version, "v"))
			return err
		},
	}
}

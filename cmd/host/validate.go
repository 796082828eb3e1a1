package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/config"
)

func validateCommand(a *app) *cobra.Command {
	var offline bool
	var locked bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration without a daemon",
		Long: `Check the configuration and print everything that is wrong with it at once. No
daemon is needed. Executables that are not known yet are asked what they are; with --offline
nothing is started, and what the manifest cache in the state directory does not
know is a warning.`,
		Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.alone()
			if err != nil {
				return err
			}
			o.Source.Offline, o.Locked = offline, locked
			diags, err := host.Validate(cmd.Context(), o)
			if err != nil {
				return err
			}
			if diags == nil {
				diags = config.Diagnostics{}
			}
			if a.json() {
				if err := a.printJSON(struct {
					Valid       bool               `json:"valid"`
					Diagnostics config.Diagnostics `json:"diagnostics"`
				}{!diags.HasErrors(), diags}); err != nil {
					return err
				}
			} else {
				a.diagnose(a.stdout, diags)
			}
			errors := 0
			for _, d := range diags {
				if d.Severity == "error" {
					errors++
				}
			}
			if errors > 0 {
				message := ""
				if !a.json() {
					message = fmt.Sprintf("the configuration in %s has %s", a.target.Dir, terminal.Count(errors, "error"))
				}
				return &exit{exitInvalid, message}
			}
			if !a.json() {
				_, _ = fmt.Fprintf(a.stdout, "The configuration in %s is valid.\n", a.target.Dir)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "start no executable: for machines that check configurations and run none")
	cmd.Flags().BoolVar(&locked, "locked", false, "refuse to use any plugin without a plugins.lock.hcl")
	return cmd
}

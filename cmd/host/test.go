package main

import (
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/report"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host"
)

func testCommand(a *app) *cobra.Command {
	var pattern string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Run the tests in the configuration without a daemon",
		Long: `Run the test blocks of the configuration: the event that each gives goes through the
routes, simulated instances answer as it says, and what came of it is compared with
what it expects. No daemon is needed and no plugin works. Exit 1 when one fails.`,
		Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			only, err := regexp.Compile(pattern)
			if err != nil {
				return &exit{exitUsage, fmt.Sprintf("--run %s: %v", pattern, err)}
			}
			o, err := a.alone()
			if err != nil {
				return err
			}
			results, diags, err := host.Test(cmd.Context(), o, only.MatchString)
			if err != nil {
				return err
			}
			if diags.HasErrors() {
				a.diagnose(a.stderr, diags)
				return &exit{exitInvalid, fmt.Sprintf("the configuration in %s is invalid; no test was run", a.target.Dir)}
			}
			failed := 0
			for _, r := range results {
				if !r.Passed {
					failed++
				}
			}
			err = a.show(map[string]any{"passed": failed == 0, "tests": results}, func() { report.Tests(a.out(), results, verbose) })
			if err != nil {
				return err
			}
			if failed > 0 {
				return &exit{exitFailed, ""}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&pattern, "run", "", "only tests whose name matches this regular expression")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show those that pass, too")
	return cmd
}

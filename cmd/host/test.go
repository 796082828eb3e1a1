package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/trial"
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
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			only, err := regexp.Compile(pattern)
			if err != nil {
				return &exit{exitUsage, fmt.Sprintf("--run %s: %v", pattern, err)}
			}
			s, err := a.source()
			if err != nil {
				return err
			}
			results, diags, err := host.Test(cmd.Context(), host.Options{Source: s}, only.MatchString)
			if err != nil {
				return err
			}
			if diags.HasErrors() {
				diags.WriteText(a.stderr, a.color(a.stderr))
				return &exit{exitInvalid, fmt.Sprintf("the configuration in %s is invalid; no test was run", a.dir)}
			}
			failed := 0
			for _, r := range results {
				if !r.Passed {
					failed++
				}
			}
			if a.json() {
				if err := a.printJSON(map[string]any{"passed": failed == 0, "tests": results}); err != nil {
					return err
				}
			} else {
				a.printTests(results, failed, verbose)
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

func (a *app) printTests(results []trial.Result, failed int, verbose bool) {
	w := a.stdout
	for _, r := range results {
		switch {
		case !r.Passed:
			_, _ = fmt.Fprintf(w, "--- %s: %s (%s)\n", a.paint(w, "31", "FAIL"), plain(r.Name), short(r.Elapsed))
		case verbose:
			_, _ = fmt.Fprintf(w, "--- %s: %s (%s)\n", a.paint(w, "32", "PASS"), plain(r.Name), short(r.Elapsed))
		}
		for _, f := range r.Failures {
			_, _ = fmt.Fprintf(w, "    %s: %s\n        got:  %s\n        want: %s\n", place(f.Range), f.What, plain(f.Got), plain(f.Want))
			if f.Hint != "" {
				for _, line := range strings.Split(f.Hint, "\n") {
					_, _ = fmt.Fprintf(w, "        %s\n", plain(line))
				}
			}
		}
	}
	switch {
	case len(results) == 0:
		_, _ = fmt.Fprintln(w, "no tests")
	case failed > 0:
		_, _ = fmt.Fprintf(w, "%s  %d of %s\n", a.paint(w, "31", "FAIL"), failed, count(len(results), "test"))
	default:
		_, _ = fmt.Fprintf(w, "%s  %s\n", a.paint(w, "32", "ok"), count(len(results), "test"))
	}
}

func place(r config.Range) string {
	return fmt.Sprintf("%s:%d", r.File, r.Line)
}

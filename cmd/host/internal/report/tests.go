package report

import (
	"strings"

	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/trial"
)

// Tests prints which tests of a configuration failed, and why; with verbose also
// which passed.
func Tests(out terminal.Printer, results []trial.Result, verbose bool) {
	failed := 0
	for _, r := range results {
		switch {
		case !r.Passed:
			failed++
			out.Printf("--- %s: %s (%s)\n", out.Paint(terminal.Red, "FAIL"), terminal.Plain(r.Name), terminal.Short(r.Elapsed))
		case verbose:
			out.Printf("--- %s: %s (%s)\n", out.Paint(terminal.Green, "PASS"), terminal.Plain(r.Name), terminal.Short(r.Elapsed))
		}
		for _, f := range r.Failures {
			out.Printf("    %s:%d: %s\n        got:  %s\n        want: %s\n", terminal.Plain(f.Range.File), f.Range.Line, f.What, terminal.Plain(f.Got), terminal.Plain(f.Want))
			if f.Hint != "" {
				for line := range strings.SplitSeq(f.Hint, "\n") {
					out.Printf("        %s\n", terminal.Plain(line))
				}
			}
		}
	}
	switch {
	case len(results) == 0:
		out.Printf("no tests\n")
	case failed > 0:
		out.Printf("%s  %d of %s\n", out.Paint(terminal.Red, "FAIL"), failed, terminal.Count(len(results), "test"))
	default:
		out.Printf("%s  %s\n", out.Paint(terminal.Green, "ok"), terminal.Count(len(results), "test"))
	}
}

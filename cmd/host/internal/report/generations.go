package report

import (
	"strconv"
	"time"

	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/generation"
)

// Generations prints the attempts to change what is serving, newest first, and
// with phases when each of theirs began.
func Generations(out terminal.Printer, g control.Generations, phases bool) {
	kept := map[uint64]control.Kept{}
	for _, k := range g.Kept {
		kept[k.Generation] = k
	}
	rows := [][]string{{"GENERATION", "WHEN", "WHO", "COMMAND", "ENDED", "TOOK", "WHAT"}}
	for i := len(g.Attempts) - 1; i >= 0; i-- {
		x := g.Attempts[i]
		number := ""
		if x.Outcome == string(apply.Committed) {
			number = strconv.FormatUint(x.Generation, 10)
			k, ok := kept[x.Generation]
			switch {
			case !ok:
				number += " (gone)"
			case k.Serving:
				number += " serving"
			}
		}
		took := ""
		if !x.Ended.IsZero() {
			took = terminal.Short(x.Ended.Sub(x.Started))
		}
		ended := x.Outcome
		if ended == "" {
			ended = "runs"
		}
		what := x.Summary
		if x.Message != "" {
			what = x.Message
		}
		rows = append(rows, []string{number, x.Started.Local().Format(time.DateTime), x.Who.User, x.Who.Command, ended, took, what})
		if phases {
			for _, s := range x.Steps {
				rows = append(rows, []string{"", "  +" + terminal.Short(s.Time.Sub(x.Started)), "", "  " + s.Phase})
			}
		}
	}
	out.Table(rows...)
	for _, k := range g.Kept {
		if k.Serving && k.Confirm != nil {
			out.Printf("Unless host confirm follows, the daemon returns to generation %d at %s.\n", k.Confirm.Back, k.Confirm.Until.Local().Format(time.DateTime))
		}
	}
}

// CompleteGenerations makes empty lists of absent ones.
func CompleteGenerations(g control.Generations) control.Generations {
	if g.Kept == nil {
		g.Kept = []control.Kept{}
	}
	if g.Attempts == nil {
		g.Attempts = []generation.Attempt{}
	}
	return g
}

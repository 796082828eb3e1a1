package report

import (
	"strings"

	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// parts sorts a story's entries by event: causes, the event itself, what it led to.
func parts(s control.Story) (causes, own, led []observe.Entry) {
	child := map[wire.ID]bool{}
	for _, e := range s.Entries {
		if e.Step == observe.Emitted && e.Causation == s.Event {
			child[e.Event] = true
		}
	}
	for _, e := range s.Entries {
		switch {
		case e.Event == s.Event:
			own = append(own, e)
		case child[e.Event]:
			led = append(led, e)
		default:
			causes = append(causes, e)
		}
	}
	return causes, own, led
}

// Story prints what the recorder has of an event, its causes and what it led to.
func Story(out terminal.Printer, s control.Story) {
	causes, own, led := parts(s)
	for _, part := range []struct {
		title   string
		entries []observe.Entry
	}{{"caused by", causes}, {"event " + s.Event.String(), own}, {"led to", led}} {
		if len(part.entries) == 0 {
			continue
		}
		out.Printf("%s\n", part.title)
		for _, e := range part.entries {
			Entry(out, e)
		}
	}
	waiting(out, s)
}

func waiting(out terminal.Printer, s control.Story) {
	for _, x := range s.Waiting {
		out.Printf("%s on route %s %s\n", strings.ReplaceAll(x.State, "_", " "), x.Route, terminal.Plain(x.Why))
	}
}

// Why says what keeps or kept an event, in one line each.
func Why(out terminal.Printer, s control.Story) {
	_, own, _ := parts(s)
	kind := ""
	for _, e := range own {
		kind = e.Type
	}
	out.Printf("%s %s\n", s.Event, kind)
	for _, e := range own {
		switch e.Step {
		case observe.NotMatched:
			why := e.Detail
			if why == "" {
				why = "its when was false"
			}
			if e.Err != nil {
				why = e.Err.Error()
			}
			out.Printf("not matched by route %s: %s\n", e.Route, terminal.Plain(why))
		case observe.Retrying:
			out.Printf("attempt %d on route %s failed: %s\n", e.Attempt, e.Route, terminal.Plain(e.Err.Error()))
		case observe.DeadLettered, observe.Dropped:
			out.Printf("%s by route %s: %s\n", strings.ReplaceAll(string(e.Step), "_", " "), e.Route, terminal.Plain(e.Err.Error()))
		case observe.Settled:
			if e.Err != nil {
				out.Printf("failed on route %s: %s\n", e.Route, terminal.Plain(e.Err.Error()))
			}
		case observe.Rejected:
			out.Printf("%s after %s: %s\n", out.Paint(terminal.Red, "rejected"), terminal.Short(e.Elapsed), terminal.Plain(e.Err.Error()))
		case observe.Resolved:
			out.Printf("%s after %s\n", out.Paint(terminal.Green, "resolved"), terminal.Short(e.Elapsed))
		}
	}
	waiting(out, s)
}

// CompleteStory makes empty lists of absent ones.
func CompleteStory(s control.Story) control.Story {
	if s.Entries == nil {
		s.Entries = []observe.Entry{}
	}
	if s.Waiting == nil {
		s.Waiting = []observe.Waiting{}
	}
	return s
}

package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

func showCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show the life of an event, its causes and what it led to",
		Args:  exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := wire.ParseID(args[0])
			if err != nil {
				return &exit{exitUsage, fmt.Sprintf("%s: not the id of an event", args[0])}
			}
			return a.story(cmd, control.StoryRequest{Event: id}, a.printStory)
		},
	}
}

func whyCommand(a *app) *cobra.Command {
	var last bool
	cmd := &cobra.Command{
		Use:   "why ID|SUBJECT",
		Short: "Say why an event is not done, was rejected, or was not matched",
		Long: `Say why an event is where it is: for what it waits, which clause of a route's when
was false, or why it was rejected. A subject means the last event about it.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if last {
				return noArgs(cmd, args)
			}
			return exactly("ID or SUBJECT, or --last-failure")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r := control.StoryRequest{LastFailure: last}
			if !last {
				var err error
				if r.Event, err = wire.ParseID(args[0]); err != nil {
					r.Subject = args[0]
				}
			}
			return a.story(cmd, r, a.printWhy)
		},
	}
	cmd.Flags().BoolVar(&last, "last-failure", false, "the last event that failed")
	return cmd
}

func (a *app) story(cmd *cobra.Command, r control.StoryRequest, text func(control.Story)) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Story(cmd.Context(), r)
	if err != nil {
		return err
	}
	if !a.json() {
		text(s)
		return nil
	}
	if s.Entries == nil {
		s.Entries = []observe.Entry{}
	}
	if s.Waiting == nil {
		s.Waiting = []observe.Waiting{}
	}
	return a.printJSON(s)
}

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

func (a *app) printStory(s control.Story) {
	causes, own, led := parts(s)
	for _, part := range []struct {
		title   string
		entries []observe.Entry
	}{{"caused by", causes}, {"event " + s.Event.String(), own}, {"led to", led}} {
		if len(part.entries) == 0 {
			continue
		}
		_, _ = fmt.Fprintln(a.stdout, part.title)
		for _, e := range part.entries {
			a.printEntry(e)
		}
	}
	a.printWaiting(a.stdout, s)
}

func (a *app) printWaiting(w io.Writer, s control.Story) {
	for _, x := range s.Waiting {
		_, _ = fmt.Fprintf(w, "%s on route %s %s\n", strings.ReplaceAll(x.State, "_", " "), x.Route, plain(x.Why))
	}
}

// printWhy says what keeps or kept an event, in one line each.
func (a *app) printWhy(s control.Story) {
	w := a.stdout
	_, own, _ := parts(s)
	kind := ""
	for _, e := range own {
		kind = e.Type
	}
	_, _ = fmt.Fprintf(w, "%s %s\n", s.Event, kind)
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
			_, _ = fmt.Fprintf(w, "not matched by route %s: %s\n", e.Route, plain(why))
		case observe.Retrying:
			_, _ = fmt.Fprintf(w, "attempt %d on route %s failed: %s\n", e.Attempt, e.Route, plain(e.Err.Error()))
		case observe.DeadLettered, observe.Dropped:
			_, _ = fmt.Fprintf(w, "%s by route %s: %s\n", strings.ReplaceAll(string(e.Step), "_", " "), e.Route, plain(e.Err.Error()))
		case observe.Settled:
			if e.Err != nil {
				_, _ = fmt.Fprintf(w, "failed on route %s: %s\n", e.Route, plain(e.Err.Error()))
			}
		case observe.Rejected:
			_, _ = fmt.Fprintf(w, "%s after %s: %s\n", a.paint(w, "31", "rejected"), short(e.Elapsed), plain(e.Err.Error()))
		case observe.Resolved:
			_, _ = fmt.Fprintf(w, "%s after %s\n", a.paint(w, "32", "resolved"), short(e.Elapsed))
		}
	}
	a.printWaiting(w, s)
}

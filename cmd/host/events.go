package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

func eventsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "events", Short: "Show what happens to events", Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var backlog uint
	var follow bool
	var kind, id string
	var failed bool
	tail := &cobra.Command{
		Use:   "tail",
		Short: "Show recent steps in the life of events, then new ones as they happen",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter := control.Filter{Type: kind, Failed: failed}
			if id != "" {
				var err error
				if filter.Event, err = wire.ParseID(id); err != nil {
					return &exit{exitUsage, fmt.Sprintf("--id %s: not the id of an event", id)}
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			return c.Tail(cmd.Context(), int(backlog), follow, filter, func(e observe.Entry) error {
				if a.json() {
					return json.NewEncoder(a.stdout).Encode(e)
				}
				a.printEntry(e)
				return nil
			})
		},
	}
	f := tail.Flags()
	f.UintVarP(&backlog, "lines", "n", 20, "how many recent steps to begin with")
	f.BoolVarP(&follow, "follow", "f", true, "go on with new steps; --follow=false ends after the recent ones")
	f.StringVar(&kind, "type", "", "only events whose type is or begins with this: http.orders")
	f.StringVar(&id, "id", "", "only the event with this id")
	f.BoolVar(&failed, "failed", false, "only steps with an error")
	cmd.AddCommand(tail)
	return cmd
}

func (a *app) printEntry(e observe.Entry) {
	w := a.stdout
	step := string(e.Step)
	switch e.Step {
	case observe.Resolved:
		step = a.paint(w, "32", step)
	case observe.Rejected, observe.DeadLettered, observe.Dropped:
		step = a.paint(w, "31", step)
	}
	line := []string{e.Time.Local().Format("15:04:05.000"), e.Event.String(), e.Type, step}
	if e.Subject != "" && e.Step == observe.Emitted {
		line = append(line, "subject="+plain(e.Subject))
	}
	if e.Route != "" {
		line = append(line, "route="+e.Route)
	}
	if e.Instance != "" {
		line = append(line, "to="+e.Instance)
	}
	if e.Attempt > 0 {
		line = append(line, fmt.Sprintf("attempt=%d", e.Attempt))
	}
	if e.Elapsed > 0 {
		line = append(line, short(e.Elapsed))
	}
	if e.Err != nil {
		line = append(line, plain(e.Err.Error()))
	}
	_, _ = fmt.Fprintln(w, strings.Join(line, "  "))
}

func emitCommand(a *app) *cobra.Command {
	var data, subject string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "emit TYPE",
		Short: "Send an event by hand and print how its promise settled",
		Long: `Send an event as an instance would, for example host emit http.orders.request,
and wait for the outcome of its promise. Exit 1 when it was rejected.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			payload, err := a.payload(data)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.Emit(cmd.Context(), control.EmitRequest{Type: args[0], Subject: subject, Data: payload, Timeout: timeout})
			if err != nil {
				return err
			}
			if a.json() {
				if err := a.printJSON(r); err != nil {
					return err
				}
			} else {
				a.printOutcome(r)
			}
			if r.Err != nil {
				return &exit{exitFailed, ""}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&data, "data", "d", "{}", "JSON, @FILE, or - for standard input")
	cmd.Flags().StringVar(&subject, "subject", "", "what the event is about")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "deadline of the event")
	return cmd
}

func (a *app) printOutcome(r control.EmitResult) {
	switch {
	case r.Err != nil:
		_, _ = fmt.Fprintf(a.stdout, "%s %s: %s\n", r.ID, a.paint(a.stdout, "31", "rejected"), plain(r.Err.Error()))
	case len(r.Value) > 0:
		_, _ = fmt.Fprintf(a.stdout, "%s %s: %s\n", r.ID, a.paint(a.stdout, "32", "resolved"), r.Value)
	default:
		_, _ = fmt.Fprintf(a.stdout, "%s %s\n", r.ID, a.paint(a.stdout, "32", "resolved"))
	}
}

// payload reads the data of an event.
func (a *app) payload(data string) (json.RawMessage, error) {
	b := []byte(data)
	var err error
	if data == "-" {
		b, err = io.ReadAll(io.LimitReader(a.stdin, wire.MaxEvent+1))
	} else if name, ok := strings.CutPrefix(data, "@"); ok {
		b, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, err
	}
	if !json.Valid(b) {
		return nil, &exit{exitUsage, "the data is not JSON; a string needs its quotes: -d '\"text\"'"}
	}
	return b, nil
}

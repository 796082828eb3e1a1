package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

func tailCommand(a *app) *cobra.Command {
	var backlog uint
	var follow bool
	var kind, id string
	var failed bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show recent steps in the life of events, then new ones as they happen",
		Args:  noArgs,
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
			shown := 0
			err = c.Tail(cmd.Context(), int(min(backlog, 1<<20)), follow, filter, func(e observe.Entry) error {
				shown++
				if a.json() {
					return json.NewEncoder(a.stdout).Encode(e)
				}
				a.printEntry(e)
				return nil
			})
			if err == nil && !follow && shown == 0 && terminal(a.stderr) {
				_, _ = fmt.Fprintln(a.stderr, "No recent step is like that.")
			}
			return err
		},
	}
	f := cmd.Flags()
	f.UintVarP(&backlog, "lines", "n", 20, "how many recent steps to begin with")
	f.BoolVarP(&follow, "follow", "f", true, "go on with new steps; --follow=false ends after the recent ones")
	f.StringVar(&kind, "type", "", "only events whose type is or begins with this: http.orders")
	f.StringVar(&id, "id", "", "only the event with this id")
	f.BoolVar(&failed, "failed", false, "only steps with an error")
	return cmd
}

func (a *app) printEntry(e observe.Entry) {
	w := a.stdout
	step := string(e.Step)
	switch e.Step {
	case observe.Resolved:
		step = a.paint(w, "32", step)
	case observe.Rejected, observe.DeadLettered, observe.Dropped, observe.Refused:
		step = a.paint(w, "31", step)
	}
	line := []string{e.Time.Local().Format("15:04:05.000"), e.Event.String(), e.Type, step}
	if e.Subject != "" && e.Step == observe.Emitted {
		line = append(line, "subject="+plain(e.Subject))
	}
	if e.Route != "" {
		line = append(line, "route="+e.Route)
	}
	switch {
	case e.Instance == "" || e.Step == observe.Emitted: // whose it is stands in its type
	case e.Step == observe.Refused:
		line = append(line, "by="+e.Instance)
	default:
		line = append(line, "to="+e.Instance)
	}
	if e.Attempt > 0 {
		line = append(line, fmt.Sprintf("attempt=%d", e.Attempt))
	}
	if e.Elapsed > 0 {
		line = append(line, short(e.Elapsed))
	}
	if e.Detail != "" {
		line = append(line, plain(e.Detail))
	}
	if e.Err != nil {
		line = append(line, plain(e.Err.Error()))
	}
	_, _ = fmt.Fprintln(w, strings.Join(line, "  "))
}

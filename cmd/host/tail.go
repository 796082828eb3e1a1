package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/report"
	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/cmd/host/internal/usage"
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
		Args:  usage.None,
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
				report.Entry(a.out(), e)
				return nil
			})
			if err == nil && !follow && shown == 0 && terminal.Is(a.stderr) {
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

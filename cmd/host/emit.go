package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/input"
	"github.com/pluginhost/host/cmd/host/internal/report"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/sdk/wire"
)

func emitCommand(a *app) *cobra.Command {
	var data, subject string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "emit TYPE",
		Short: "Send an event by hand and print how its promise settled",
		Long: `Send an event as an instance would, for example host emit http.orders.request,
and wait for the outcome of its promise. Exit 1 when it was rejected.`,
		Args: usage.Exactly("TYPE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout <= 0 {
				return &exit{exitUsage, fmt.Sprintf("--timeout %s: it is more than nothing", timeout)}
			}
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
			if err := a.show(r, func() { report.Outcome(a.out(), r) }); err != nil {
				return err
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

// payload reads the data of an event.
func (a *app) payload(data string) (json.RawMessage, error) {
	b, err := input.JSON(data, a.stdin, wire.MaxEvent)
	if err != nil {
		return nil, &exit{exitUsage, err.Error()}
	}
	return b, nil
}

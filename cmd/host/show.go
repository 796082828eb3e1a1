package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/report"
	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/sdk/wire"
)

func showCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show the life of an event, its causes and what it led to",
		Args:  usage.Exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := wire.ParseID(args[0])
			if err != nil {
				return &exit{exitUsage, fmt.Sprintf("%s: not the id of an event", args[0])}
			}
			return a.story(cmd, control.StoryRequest{Event: id}, report.Story)
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
				return usage.None(cmd, args)
			}
			return usage.Exactly("ID or SUBJECT, or --last-failure")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r := control.StoryRequest{LastFailure: last}
			if !last {
				var err error
				if r.Event, err = wire.ParseID(args[0]); err != nil {
					r.Subject = args[0]
				}
			}
			return a.story(cmd, r, report.Why)
		},
	}
	cmd.Flags().BoolVar(&last, "last-failure", false, "the last event that failed")
	return cmd
}

func (a *app) story(cmd *cobra.Command, r control.StoryRequest, text func(terminal.Printer, control.Story)) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Story(cmd.Context(), r)
	if err != nil {
		return err
	}
	return a.show(report.CompleteStory(s), func() { text(a.out(), s) })
}

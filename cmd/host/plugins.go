package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/report"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/config/diagnostic"
)

func pluginsCommand(a *app) *cobra.Command {
	cmd := usage.Group("plugins", "Show the plugins in the plugin directory")
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "List every executable found, and why it can or cannot be used", Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			entries, err := a.entries(cmd)
			if err != nil {
				return err
			}
			if a.json() {
				list := make([]catalog.Entry, len(entries))
				for i, e := range entries {
					e.Manifest = nil
					list[i] = e
				}
				return a.printJSON(map[string]any{"plugins": list})
			}
			report.Plugins(a.out(), entries)
			return nil
		},
	}, &cobra.Command{
		Use: "show NAME", Short: "Show what a plugin can be configured with, emits and handles", Args: usage.Exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			entries, err := a.entries(cmd)
			if err != nil {
				return err
			}
			n := slices.IndexFunc(entries, func(e catalog.Entry) bool { return e.Name == args[0] && e.State == catalog.Ready })
			if n < 0 {
				n = slices.IndexFunc(entries, func(e catalog.Entry) bool { return e.Name == args[0] || filepath.Base(e.Path) == args[0] })
			}
			if n < 0 {
				return &exit{exitFailed, fmt.Sprintf("there is no plugin %q.%s host plugins list shows all.", args[0], diagnostic.Suggest(args[0], names(entries)))}
			}
			return a.show(entries[n], func() { report.Plugin(a.out(), entries[n]) })
		},
	})
	cmd.AddCommand(lockCommands(a)...)
	return cmd
}

// names returns the names of the plugins that can be used.
func names(entries []catalog.Entry) []string {
	var list []string
	for _, e := range entries {
		if e.State == catalog.Ready {
			list = append(list, e.Name)
		}
	}
	return list
}

// settleTime is how long an executable that was just dropped in is waited for.
const settleTime = 2 * time.Second

// entries asks for what is in the plugin directory. What is being looked at
// right now is waited for a moment: its author has just built it.
func (a *app) entries(cmd *cobra.Command) ([]catalog.Entry, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for end := time.Now().Add(settleTime); ; {
		entries, err := c.Plugins(cmd.Context())
		if err != nil || time.Now().After(end) || !slices.ContainsFunc(entries, func(e catalog.Entry) bool { return e.State == catalog.Pending }) {
			return entries, err
		}
		select {
		case <-cmd.Context().Done():
			return nil, cmd.Context().Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

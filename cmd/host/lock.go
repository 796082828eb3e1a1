package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/manager"
	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/config/lock"
)

// alone is the Options of a command that needs no daemon.
func (a *app) alone() (host.Options, error) {
	s, err := a.source()
	if err != nil {
		return host.Options{}, err
	}
	u, _, err := manager.User(manager.DefaultUser(), a.target.Dir)
	if err != nil {
		return host.Options{}, err
	}
	return host.Options{Source: s, Self: self, User: u.Name}, nil
}

func lockCommands(a *app) []*cobra.Command {
	return []*cobra.Command{{
		Use: "lock", Short: "Write plugins.lock.hcl: these executables, and no others, are used from now on", Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.alone()
			if err != nil {
				return err
			}
			plugins, err := host.Lock(cmd.Context(), o)
			if err != nil {
				return a.outcome(err, "nothing was written")
			}
			if a.json() {
				return a.printJSON(map[string]any{"plugins": plugins})
			}
			for _, p := range plugins {
				_, _ = fmt.Fprintf(a.stdout, "%s %s  %s\n", p.Name, p.Version, p.Digest[:12])
			}
			_, _ = fmt.Fprintf(a.stdout, "%s holds %s.\n", filepath.Join(a.target.Dir, lock.Name), terminal.Count(len(plugins), "plugin"))
			return nil
		},
	}, {
		Use: "verify", Short: "Compare the plugin directory with plugins.lock.hcl; nothing is executed", Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.alone()
			if err != nil {
				return err
			}
			all, err := host.VerifyLock(cmd.Context(), o)
			if errors.Is(err, lock.ErrNone) {
				err = fmt.Errorf("%w in %s: host plugins lock writes it", err, a.target.Dir)
			}
			if err != nil {
				return a.outcome(err, "nothing was compared")
			}
			wrong := 0
			for _, v := range all {
				if !v.OK {
					wrong++
				}
				if !a.json() {
					state := "ok"
					if !v.OK {
						state = v.Reason
					}
					_, _ = fmt.Fprintf(a.stdout, "%s  %s  %s\n", terminal.Plain(v.Name), v.Digest[:min(len(v.Digest), 12)], terminal.Plain(state))
				}
			}
			if a.json() {
				if err := a.printJSON(map[string]any{"plugins": all}); err != nil {
					return err
				}
			}
			if wrong > 0 {
				return &exit{exitFailed, fmt.Sprintf("%s not as locked", terminal.Count(wrong, "executable"))}
			}
			return nil
		},
	}}
}

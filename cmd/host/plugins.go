package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/sdk/schema"
)

func pluginsCommand(a *app) *cobra.Command {
	cmd := group("plugins", "Show the plugins in the plugin directory")
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "List every executable found, and why it can or cannot be used", Args: noArgs,
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
			rows := [][]string{{"NAME", "VERSION", "STATE", "DIGEST", "FILE"}}
			for _, e := range entries {
				rows = append(rows, []string{e.Name, e.Version, string(e.State), cut(e.Digest, 12), filepath.Base(e.Path)})
			}
			table(a.stdout, rows...)
			for _, e := range entries {
				if e.Reason != "" {
					_, _ = fmt.Fprintf(a.stdout, "%s: %s\n", plain(filepath.Base(e.Path)), plain(e.Reason))
				}
			}
			return nil
		},
	}, &cobra.Command{
		Use: "show NAME", Short: "Show what a plugin can be configured with, emits and handles", Args: exactly("NAME"),
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
			if a.json() {
				return a.printJSON(entries[n])
			}
			a.printPlugin(entries[n])
			return nil
		},
	})
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

func (a *app) printPlugin(e catalog.Entry) {
	w := a.stdout
	_, _ = fmt.Fprintf(w, "%s %s  %s\n", e.Name, e.Version, e.State)
	if e.Reason != "" {
		_, _ = fmt.Fprintf(w, "  %s\n", plain(e.Reason))
	}
	m := e.Manifest
	if m == nil {
		_, _ = fmt.Fprintf(w, "  %s\n", plain(e.Path))
		return
	}
	_, _ = fmt.Fprintf(w, "  %s\n  %s\n  sha256 %s\n", plain(m.Doc), plain(e.Path), e.Digest)
	if len(m.Config) > 0 {
		_, _ = fmt.Fprintf(w, "\nplugin %q NAME {\n", m.Name)
		table(w, fieldRows("  ", m.Config, true)...)
		_, _ = fmt.Fprintln(w, "}")
	}
	for _, x := range m.Events {
		_, _ = fmt.Fprintf(w, "\nevent %s  %s\n", x.Name, plain(x.Doc))
		a.printType(x.Data)
	}
	for _, x := range m.Actions {
		_, _ = fmt.Fprintf(w, "\naction %s  %s\n", x.Name, plain(x.Doc))
		_, _ = fmt.Fprintln(w, "  takes")
		a.printType(x.Input)
		_, _ = fmt.Fprintln(w, "  returns")
		a.printType(x.Output)
	}
}

func (a *app) printType(t schema.Type) {
	if t.Kind == schema.Object && len(t.Fields) > 0 {
		table(a.stdout, fieldRows("    ", t.Fields, false)...)
		return
	}
	_, _ = fmt.Fprintf(a.stdout, "    %s\n", t)
}

// fieldRows describes fields, one a row; nested ones are indented.
func fieldRows(indent string, fields []schema.Field, config bool) [][]string {
	var rows [][]string
	for _, f := range fields {
		note := ""
		switch {
		case f.Required:
			note = "required"
		case len(f.Default) > 0:
			note = "default " + string(f.Default)
		}
		if len(f.OneOf) > 0 {
			b, _ := json.Marshal(f.OneOf) // strings cannot fail
			note += " one of " + string(b)
		}
		name := indent + f.Name
		if config {
			name += " ="
		}
		rows = append(rows, []string{name, string(f.Type.Kind), note, f.Doc})
		nested := f.Type
		for nested.Elem != nil {
			nested = *nested.Elem
		}
		rows = append(rows, fieldRows(indent+"  ", nested.Fields, config)...)
	}
	return rows
}

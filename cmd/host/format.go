package main

import (
	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/input"
	"github.com/pluginhost/host/cmd/host/internal/source"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/config/syntax"
)

func fmtCommand(a *app) *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "fmt [FILE or DIR…]",
		Short: "Format configuration files",
		Long: `Format the given files, the *.hcl files of given directories, or those of the
configuration, and print the names of those that changed. "-" formats standard
input to standard output.`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "-" {
				return a.formatStdin()
			}
			if len(args) == 0 {
				args = []string{a.target.Dir}
			}
			files, err := source.Files(args)
			if err != nil {
				return err
			}
			return a.format(files, check)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; exit 1 when a file would change")
	return cmd
}

// format formats files and prints the names of those that change.
func (a *app) format(files []string, check bool) error {
	changed, broken, err := source.Format(files, !check)
	if err != nil {
		return err
	}
	err = a.show(map[string]any{"changed": changed, "diagnostics": broken}, func() {
		for _, name := range changed {
			a.out().Printf("%s\n", name)
		}
		a.diagnose(a.stderr, broken)
	})
	switch {
	case err != nil:
		return err
	case broken.HasErrors():
		return &exit{exitInvalid, ""}
	case check && len(changed) > 0:
		return &exit{exitFailed, ""}
	}
	return nil
}

func (a *app) formatStdin() error {
	src, err := input.All(a.stdin, "standard input", syntax.MaxFile)
	if err != nil {
		return err
	}
	out, diags := config.Format(src, "standard input")
	if diags.HasErrors() {
		a.diagnose(a.stderr, diags)
		return &exit{exitInvalid, ""}
	}
	_, err = a.stdout.Write(out)
	return err
}

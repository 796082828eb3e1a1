package main

import (
	"bytes"
	"fmt"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/input"
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
				args = []string{a.dir}
			}
			files, err := input.Sources(args)
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
	broken, changed := config.Diagnostics{}, []string{}
	for _, name := range files {
		src, err := input.File(name, syntax.MaxFile)
		if err != nil {
			return err
		}
		out, diags := config.Format(src, name)
		broken = append(broken, diags...)
		if diags.HasErrors() || bytes.Equal(out, src) {
			continue
		}
		changed = append(changed, name)
		if check {
			continue
		}
		if err := replace(name, out); err != nil {
			return err
		}
	}
	if a.json() {
		err := a.printJSON(struct {
			Changed     []string           `json:"changed"`
			Diagnostics config.Diagnostics `json:"diagnostics"`
		}{changed, broken})
		if err != nil {
			return err
		}
	} else {
		for _, name := range changed {
			_, _ = fmt.Fprintln(a.stdout, name)
		}
		a.diagnose(a.stderr, broken)
	}
	switch {
	case broken.HasErrors():
		return &exit{exitInvalid, ""}
	case check && len(changed) > 0:
		return &exit{exitFailed, ""}
	}
	return nil
}

// replace writes a file whole, keeps its mode, and follows a symbolic link.
func replace(name string, text []byte) error {
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	return renameio.WriteFile(target, text, 0o644, renameio.WithExistingPermissions())
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

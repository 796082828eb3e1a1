package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/config"
)

func validateCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration without a daemon",
		Long: `Check the configuration and print everything that is wrong with it at once. No
daemon is needed. Executables that are not known yet are asked what they are.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.source()
			if err != nil {
				return err
			}
			diags, err := host.Validate(cmd.Context(), host.Options{Source: s})
			if err != nil {
				return err
			}
			if diags == nil {
				diags = config.Diagnostics{}
			}
			if a.json() {
				if err := a.printJSON(map[string]any{"valid": !diags.HasErrors(), "diagnostics": diags}); err != nil {
					return err
				}
			} else {
				diags.WriteText(a.stdout, a.color(a.stdout))
			}
			errors := 0
			for _, d := range diags {
				if d.Severity == "error" {
					errors++
				}
			}
			if errors > 0 {
				message := ""
				if !a.json() {
					message = fmt.Sprintf("the configuration in %s has %s", a.dir, count(errors, "error"))
				}
				return &exit{exitInvalid, message}
			}
			if !a.json() {
				_, _ = fmt.Fprintf(a.stdout, "The configuration in %s is valid.\n", a.dir)
			}
			return nil
		},
	}
}

func fmtCommand(a *app) *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "fmt [FILE…]",
		Short: "Format configuration files",
		Long: `Format the given files, or all *.hcl files of the configuration, and print the
names of those that changed. "-" formats standard input to standard output.`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "-" {
				return a.formatStdin()
			}
			if len(args) == 0 {
				var err error
				if args, err = filepath.Glob(filepath.Join(a.dir, "*.hcl")); err != nil || len(args) == 0 {
					return &exit{exitFailed, fmt.Sprintf("%s holds no *.hcl file; -c names the directory that does", a.dir)}
				}
			}
			var broken config.Diagnostics
			changed := 0
			for _, name := range args {
				src, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				out, diags := config.Format(src, name)
				broken = append(broken, diags...)
				if diags.HasErrors() || string(out) == string(src) {
					continue
				}
				changed++
				_, _ = fmt.Fprintln(a.stdout, name)
				if !check {
					if err := os.WriteFile(name, out, 0o644); err != nil {
						return err
					}
				}
			}
			if broken.HasErrors() {
				broken.WriteText(a.stderr, a.color(a.stderr))
				return &exit{exitInvalid, ""}
			}
			if check && changed > 0 {
				return &exit{exitFailed, ""}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; exit 1 when a file would change")
	return cmd
}

func (a *app) formatStdin() error {
	src, err := io.ReadAll(a.stdin)
	if err != nil {
		return err
	}
	out, diags := config.Format(src, "standard input")
	if diags.HasErrors() {
		diags.WriteText(a.stderr, a.color(a.stderr))
		return &exit{exitInvalid, ""}
	}
	_, err = a.stdout.Write(out)
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: usage(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if a.json() {
				return a.printJSON(map[string]string{"version": version})
			}
			_, err := fmt.Fprintln(a.stdout, "host "+strings.TrimPrefix(version, "v"))
			return err
		},
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/target"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/control"
)

// version is set by the linker.
var version = "0.1.0-dev"

// app is what all commands share: where they print, and the global flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	target  target.Target
	output  string // text or json
	noColor bool
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "host",
		Short: "An extensible, event-driven daemon",
		Long: `host turns the executables in a directory into plugins, configures instances of
them and routes events between them, as the *.hcl files of a directory say.`,
		SilenceUsage: true, SilenceErrors: true,
		Args: usage.Subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			// What is written on the command line goes before the environment.
			if f := cmd.Flags(); !f.Changed("addr") && !f.Changed("config") && !f.Changed("state-dir") {
				a.target.Addr = os.Getenv("HOST_ADDR")
			}
			if a.output != "text" && a.output != "json" {
				return &exit{exitUsage, fmt.Sprintf("-o %s: there are text and json", a.output)}
			}
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVarP(&a.target.Dir, "config", "c", ".", "directory of the configuration")
	f.StringVar(&a.target.Addr, "addr", "", "address of the daemon, unix:///PATH (default: the control socket of the configuration that -c or --state-dir name, else $HOST_ADDR)")
	f.StringVarP(&a.output, "output", "o", "text", "text or json")
	f.StringArrayVar(&a.target.Vars, "var", nil, "value of a variable for run and validate, name=value; may be repeated")
	f.StringArrayVar(&a.target.VarFiles, "var-file", nil, "file of values of variables for run and validate; may be repeated")
	f.StringVar(&a.target.PluginDir, "plugin-dir", "", "directory of the plugins, in place of the configured one")
	f.StringVar(&a.target.StateDir, "state-dir", "", "directory of the state, in place of the configured one")
	f.BoolVar(&a.noColor, "no-color", os.Getenv("NO_COLOR") != "", "no colour on a terminal")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exit{exitUsage, fmt.Sprintf("%v\n%s --help lists the flags", err, cmd.CommandPath())}
	})
	// Each command has a file of its own.
	root.AddCommand(
		runCommand(a), doctorCommand(a), validateCommand(a), testCommand(a), fmtCommand(a),
		planCommand(a), reloadCommand(a), rollbackCommand(a), confirmCommand(a), generationsCommand(a), statusCommand(a),
		pluginsCommand(a), eventsCommand(a), emitCommand(a), versionCommand(a),
	)
	root.SetHelpCommand(usage.Help(root))
	root.InitDefaultCompletionCmd("completion")
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args = usage.Subcommand
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	return root
}

// source is the configuration that the global flags name.
func (a *app) source() (config.Source, error) {
	s, err := a.target.Source()
	if err != nil {
		return s, &exit{exitUsage, err.Error()}
	}
	return s, nil
}

// client returns a client of the daemon that the global flags name.
func (a *app) client() (*control.Client, error) {
	addr := a.target.Addr
	if addr == "" {
		state, err := a.target.State()
		if err != nil {
			return nil, &exit{exitUsage, err.Error()}
		}
		addr = "unix://" + host.SocketPath(state)
	}
	c, err := control.Dial(addr)
	if err != nil {
		return nil, &exit{exitUsage, err.Error()}
	}
	return c, nil
}

// ask asks the daemon one question.
func ask[T any](ctx context.Context, a *app, question func(*control.Client, context.Context) (T, error)) (T, error) {
	c, err := a.client()
	if err != nil {
		var none T
		return none, err
	}
	defer c.Close()
	return question(c, ctx)
}

// noValues refuses values of variables where the running daemon has its own.
func (a *app) noValues(command string) error {
	if len(a.target.Vars)+len(a.target.VarFiles) == 0 {
		return nil
	}
	return &exit{exitUsage, "host " + command + " takes no values of variables: the daemon keeps those that host run was given, and reads *.auto.hclvars files anew"}
}

// logger logs to standard error.
func (a *app) logger(level string, asJSON bool) hclog.Logger {
	o := &hclog.LoggerOptions{Name: "host", Level: hclog.LevelFromString(level), Output: a.stderr, JSONFormat: asJSON}
	if a.printer(a.stderr).Coloured {
		o.Color = hclog.AutoColor
	}
	return hclog.New(o)
}

// outcome makes the exit of what Run returns; not is what did not happen.
func (a *app) outcome(err error, not string) error {
	var invalid *host.InvalidError
	var rolled *host.RolledBackError
	switch {
	case errors.As(err, &invalid):
		a.diagnose(a.stderr, invalid.Diagnostics)
		return &exit{exitInvalid, hinted(fmt.Sprintf("the configuration in %s is invalid; %s", a.target.Dir, not), invalid.Hint)}
	case errors.As(err, &rolled):
		a.diagnose(a.stderr, rolled.Diagnostics)
		return &exit{exitRolledBack, hinted(rolled.Error(), rolled.Hint)}
	}
	return err
}

// hinted adds what else can be done.
func hinted(message, hint string) string {
	if hint == "" {
		return message
	}
	return message + "\n" + hint
}

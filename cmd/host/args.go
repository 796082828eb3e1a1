package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// wrong is the exit for a command line that cannot be meant.
func wrong(cmd *cobra.Command, format string, args ...any) error {
	return &exit{exitUsage, fmt.Sprintf(format, args...) + "\nusage: " + cmd.UseLine()}
}

// noArgs is for commands without arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrong(cmd, "%s takes no argument; %q is one too many", cmd.Name(), args[0])
	}
	return nil
}

// exactly is for commands with these arguments.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return wrong(cmd, "%s needs %s", cmd.Name(), strings.Join(names[len(args):], " and "))
		case len(args) > len(names):
			return wrong(cmd, "%s takes %s only; %q is one too many", cmd.Name(), strings.Join(names, " and "), args[len(names)])
		}
		return nil
	}
}

// group makes a command that only holds others.
func group(name, short string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Args: subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
}

// subcommand is for commands that hold others: what is left is none of them.
func subcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return &exit{exitUsage, fmt.Sprintf("there is no command %q%s\n%s --help lists the commands", strings.TrimPrefix(cmd.CommandPath()+" "+args[0], "host "), hint, cmd.CommandPath())}
}

// helpCommand is cobra's, but for a wrong name being an error.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{Use: "help [COMMAND]", Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				if cmd == nil {
					cmd, rest = root, args
				}
				return subcommand(cmd, rest)
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		}}
}

// Package usage says what is wrong with a command line, and holds the forms that
// commands share: no argument, exactly these, only other commands.
package usage

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Error is what is wrong with a command line, for whoever wrote it.
type Error string

func (e Error) Error() string { return string(e) }

// Wrong is the error of a command line that cannot be meant.
func Wrong(cmd *cobra.Command, format string, args ...any) error {
	return Error(fmt.Sprintf(format, args...) + "\nusage: " + cmd.UseLine())
}

// None is for commands without arguments.
func None(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Wrong(cmd, "%s takes no argument; %q is one too many", cmd.Name(), args[0])
	}
	return nil
}

// Exactly is for commands with these arguments.
func Exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return Wrong(cmd, "%s needs %s", cmd.Name(), strings.Join(names[len(args):], " and "))
		case len(args) > len(names):
			return Wrong(cmd, "%s takes %s only; %q is one too many", cmd.Name(), strings.Join(names, " and "), args[len(names)])
		}
		return nil
	}
}

// Group makes a command that only holds others.
func Group(name, short string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Args: Subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
}

// Subcommand is for commands that hold others: what is left is none of them.
func Subcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if cmd.SuggestionsMinimumDistance == 0 {
		cmd.SuggestionsMinimumDistance = 2 // letters that are wrong; cobra sets it on a road that is not taken here
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return Error(fmt.Sprintf("there is no command %q%s\n%s --help lists the commands", strings.TrimPrefix(cmd.CommandPath()+" "+args[0], "host "), hint, cmd.CommandPath()))
}

// Help is cobra's, but for a wrong name being an error.
func Help(root *cobra.Command) *cobra.Command {
	return &cobra.Command{Use: "help [COMMAND]", Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				if cmd == nil {
					cmd, rest = root, args
				}
				return Subcommand(cmd, rest)
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		}}
}

// LongFlags lets the long flags of HCL tools be written with one dash.
func LongFlags(args []string) []string {
	out := make([]string, 0, len(args))
	for i, a := range args {
		if a == "--" {
			return append(out, args[i:]...)
		}
		name, _, _ := strings.Cut(a, "=")
		switch name {
		case "-var", "-var-file", "-detailed-exitcode", "-out", "-hold", "-plan", "-wait", "-confirm", "-offline", "-generation", "-dev", "-check":
			a = "-" + a
		}
		out = append(out, a)
	}
	return out
}

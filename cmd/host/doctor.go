package main

import (
	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/doctor"
	"github.com/pluginhost/host/cmd/host/internal/manager"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/spawner/policy"
)

func doctorCommand(a *app) *cobra.Command {
	var user, policyFile string
	var allow []string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this machine offers, and what is missing",
		Long: `Show what this machine offers to a daemon that the caller starts here, and what is
missing: green is there, yellow is missing and something weaker takes its place,
red keeps host run from starting. The last lines are the policy in force. The
exit code is 1 when something is red.`,
		Args: usage.None,
		RunE: func(*cobra.Command, []string) error {
			lines, rules := doctor.Examine(a.target, user, policyFile, allow)
			red := 0
			for _, l := range lines {
				if l.Light == observe.Red {
					red++
				}
			}
			err := a.show(map[string]any{"checks": lines, "policy": rules}, func() { doctor.Print(a.out(), lines, rules) })
			if err != nil {
				return err
			}
			if red > 0 {
				return &exit{exitFailed, ""}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&user, "user", manager.DefaultUser(), "as root: who the manager and the plugins would run as")
	f.StringVar(&policyFile, "policy", "", "file of what the spawner allows (default "+policy.Path+")")
	f.StringArrayVar(&allow, "allow", nil, "a line to add to the policy; may be repeated")
	return cmd
}

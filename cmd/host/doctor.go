package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/spawner/executable"
	"github.com/pluginhost/host/host/spawner/policy"
	"github.com/pluginhost/host/host/spawner/server"
)

// checked is a line of host doctor.
type checked struct {
	Name  string `json:"name"`
	Light string `json:"light"` // green, yellow or red
	Text  string `json:"text"`
}

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
			lines, rules := a.examine(user, policyFile, allow)
			red := 0
			for _, l := range lines {
				if l.Light == "red" {
					red++
				}
			}
			if a.json() {
				if err := a.printJSON(map[string]any{"checks": lines, "policy": rules}); err != nil {
					return err
				}
			} else {
				var rows [][]string
				for _, l := range lines {
					rows = append(rows, []string{l.Light, l.Name, terminal.Plain(l.Text)})
				}
				a.out().Table(rows...)
				_, _ = fmt.Fprintln(a.stdout, "\nThe spawner's policy (host run --help says how to change it):")
				for _, r := range rules {
					_, _ = fmt.Fprintf(a.stdout, "  %s\n", terminal.Plain(r))
				}
			}
			if red > 0 {
				return &exit{exitFailed, ""}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&user, "user", defaultUser(), "as root: who the manager and the plugins would run as")
	f.StringVar(&policyFile, "policy", "", "file of what the spawner allows (default "+policy.Path+")")
	f.StringArrayVar(&allow, "allow", nil, "a line to add to the policy; may be repeated")
	return cmd
}

// examine looks at the machine, the user, the policy and the directories.
func (a *app) examine(name, policyFile string, allow []string) (lines []checked, rules []string) {
	say := func(name, light, format string, args ...any) {
		lines = append(lines, checked{name, light, fmt.Sprintf(format, args...)})
	}
	for _, f := range server.Survey() {
		light := "green"
		if !f.OK {
			light = "yellow"
		}
		say(f.Name, light, "%s", f.Text)
	}
	u, lacks, err := managerUser(name, a.target.Dir)
	if err != nil {
		say("user", "red", "%v", err)
		return lines, nil
	}
	if len(lacks) > 0 {
		say("user", "yellow", "%s", lacks[0])
	} else {
		say("user", "green", "the manager, and plugins that name no user, run as %s", u.Name)
	}
	p, err := policy.Load(policyFile, allow, os.Geteuid() == 0, u.Name)
	if err != nil {
		say("policy", "red", "%v", err)
		return lines, nil
	}
	s, err := a.source()
	if err != nil {
		say("configuration", "red", "%v", err)
		return lines, p.Rules()
	}
	files, _ := config.Open(s)
	if files == nil {
		say("configuration", "yellow", "%s cannot be read here; host validate says why", a.target.Dir)
		return lines, p.Rules()
	}
	if err := executable.Directory(files.Host().PluginDir, u.UID); err != nil {
		say("plugins", "red", "%v", err)
	} else {
		say("plugins", "green", "%s belongs to root or %s, and nobody else can change it", files.Host().PluginDir, u.Name)
	}
	return lines, p.Rules()
}

// Package doctor looks at what a machine offers to a daemon that the caller
// starts there. It changes nothing and starts nothing.
package doctor

import (
	"fmt"
	"os"

	"github.com/pluginhost/host/cmd/host/internal/manager"
	"github.com/pluginhost/host/cmd/host/internal/target"
	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/spawner/executable"
	"github.com/pluginhost/host/host/spawner/policy"
)

// Check is one thing that was looked at: green is there, yellow is missing and
// something weaker takes its place, red keeps the daemon from starting.
type Check struct {
	Name  string        `json:"name"`
	Light observe.Light `json:"light"`
	Text  string        `json:"text"`
}

// Examine looks at the machine, the user, the policy and the directories.
func Examine(t target.Target, name, policyFile string, allow []string) (lines []Check, rules []string) {
	say := func(name string, light observe.Light, format string, args ...any) {
		lines = append(lines, Check{name, light, fmt.Sprintf(format, args...)})
	}
	for _, f := range survey() {
		light := observe.Green
		if !f.OK {
			light = observe.Yellow
		}
		say(f.Name, light, "%s", f.Text)
	}
	u, lacks, err := manager.User(name, t.Dir)
	if err != nil {
		say("user", observe.Red, "%v", err)
		return lines, nil
	}
	if len(lacks) > 0 {
		say("user", observe.Yellow, "%s", lacks[0])
	} else {
		say("user", observe.Green, "the manager, and plugins that name no user, run as %s", u.Name)
	}
	p, err := policy.Load(policyFile, allow, os.Geteuid() == 0, u.Name)
	if err != nil {
		say("policy", observe.Red, "%v", err)
		return lines, nil
	}
	s, err := t.Source()
	if err != nil {
		say("configuration", observe.Red, "%v", err)
		return lines, p.Rules()
	}
	files, _ := config.Open(s)
	if files == nil {
		say("configuration", observe.Yellow, "%s cannot be read here; host validate says why", t.Dir)
		return lines, p.Rules()
	}
	if err := executable.Directory(files.Host().PluginDir, u.UID); err != nil {
		say("plugins", observe.Red, "%v", err)
	} else {
		say("plugins", observe.Green, "%s belongs to root or %s, and nobody else can change it", files.Host().PluginDir, u.Name)
	}
	return lines, p.Rules()
}

// Print prints checks, and the rules of the spawner's policy.
func Print(out terminal.Printer, checks []Check, rules []string) {
	var rows [][]string
	for _, c := range checks {
		rows = append(rows, []string{string(c.Light), c.Name, c.Text})
	}
	out.Table(rows...)
	out.Printf("\nThe spawner's policy (host run --help says how to change it):\n")
	for _, r := range rules {
		out.Printf("  %s\n", terminal.Plain(r))
	}
}

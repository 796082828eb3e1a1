package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/manager"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/spawner/client"
	"github.com/pluginhost/host/host/spawner/policy"
	"github.com/pluginhost/host/host/spawner/supervise"
)

// self is the executable of this process, whatever its path leads to by now.
const self = "/proc/self/exe"

func runCommand(a *app) *cobra.Command {
	var dev, logJSON, locked bool
	var level, which, user, policyFile string
	var allow []string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Long: `Run the daemon in the foreground, as two processes: this one keeps the sockets
and starts the plugins (the spawner), the other does all the rest and has no
rights (the manager). As root the manager, and every plugin that names no user,
runs as --user: unless it is given, as the user host where there is one, else as
whoever called sudo, else as the owner of the configuration.

SIGHUP reloads the policy and the configuration; SIGTERM or SIGINT drains what is
in flight and ends; a second one ends at once.

The policy says what the manager may ask of the spawner. It is read from --policy
(default ` + policy.Path + `, where it exists), and --allow adds lines to it. Without
one root binds the ports 80, 443 and those from 1024 on, and any other user what
the system allows. host doctor shows the policy in force.`,
		Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Whoever reads what it prints may go away. Not Ignore: programs inherit that.
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
			s, err := a.source()
			if err != nil {
				return err
			}
			if level != "" && hclog.LevelFromString(level) == hclog.NoLevel {
				return usage.Wrong(cmd, "--log-level %s: trace, debug, info, warn or error", level)
			}
			conn, confined, err := client.Inherited()
			if err != nil {
				return err
			}
			if conn == nil {
				return a.supervise(user, policyFile, allow)
			}
			if !confined {
				if dir, ok := host.StateDir(s); ok || which != "" { // else it ends at once
					if err := client.Confine(conn, dir); err != nil {
						return &exit{exitFailed, err.Error()}
					}
				}
			}
			if level == "" {
				level = "info"
				if files, _ := config.Open(s); files != nil {
					level = files.Host().LogLevel
				}
			}
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			var last bool
			var number uint64
			switch which {
			case "":
			case "last":
				last = true
			default:
				if number, err = strconv.ParseUint(which, 10, 64); err != nil || number == 0 {
					return usage.Wrong(cmd, "--generation %s: last, or a number of host generations", which)
				}
			}
			log := a.logger(level, logJSON || a.json())
			return a.outcome(host.Run(cmd.Context(), host.Options{
				Source: s, Dev: dev, Version: version, Log: log, Stdout: a.stdout, Reload: hup,
				Last: last, Generation: number, Notify: true,
				Spawner: client.Connect(conn), Locked: locked,
				Ready: func(socket string) {
					log.Info("ready", "control", "unix://"+socket, "pid", os.Getpid())
				},
			}), "nothing was started")
		},
	}
	f := cmd.Flags()
	f.BoolVar(&dev, "dev", false, "use a plugin's executable as soon as it changes")
	f.StringVar(&level, "log-level", "", "trace, debug, info, warn or error (default: host { log_level })")
	f.StringVar(&which, "generation", "", "serve the configuration of this generation, or of the last, in place of the files on disk")
	f.BoolVar(&logJSON, "log-json", false, "log JSON lines, as -o json does")
	f.BoolVar(&locked, "locked", false, "refuse to use any plugin without a plugins.lock.hcl")
	f.StringVar(&user, "user", manager.DefaultUser(), "as root: who the manager and the plugins run as (default: $HOST_USER, host, whoever called sudo, or the configuration's owner)")
	f.StringVar(&policyFile, "policy", "", "file of what the spawner allows (default "+policy.Path+")")
	f.StringArrayVar(&allow, "allow", nil, "a line to add to the policy, for example 'bind tcp *:22'; may be repeated")
	return cmd
}

// supervise is host run before it is the manager.
func (a *app) supervise(name, policyFile string, allow []string) error {
	u, lacks, err := manager.User(name, a.target.Dir)
	if err != nil {
		return &exit{exitFailed, err.Error()}
	}
	code, err := supervise.Run(supervise.Options{
		Argv: os.Args, Self: self, User: u, Lacks: lacks,
		Policy: func() (*policy.Policy, error) {
			return policy.Load(policyFile, allow, os.Geteuid() == 0, u.Name)
		},
		Log: func(format string, args ...any) {
			_, _ = fmt.Fprintf(a.stderr, "host: "+format+"\n", args...)
		},
	})
	switch {
	case err != nil:
		return &exit{exitFailed, err.Error()}
	case code != 0:
		return &exit{code, ""} // the manager has said why
	}
	return nil
}

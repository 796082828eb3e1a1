package main

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/config"
)

func runCommand(a *app) *cobra.Command {
	var dev, logJSON bool
	var level, which string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Long: `Run the daemon in the foreground. SIGHUP reloads the configuration; SIGTERM or
SIGINT drains what is in flight and ends; a second one ends at once.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.source()
			if err != nil {
				return err
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
					return wrong(cmd, "--generation %s: last, or a number of host generations", which)
				}
			}
			log := a.logger(level, logJSON || a.json())
			return a.outcome(host.Run(cmd.Context(), host.Options{
				Source: s, Dev: dev, Version: version, Log: log, Stdout: a.stdout, Reload: hup,
				Last: last, Generation: number, Notify: true,
				Ready: func(socket string) {
					log.Info("ready", "control", "unix://"+socket, "pid", os.Getpid())
				},
			}))
		},
	}
	cmd.Flags().BoolVar(&dev, "dev", false, "use a plugin's executable as soon as it changes")
	cmd.Flags().StringVar(&level, "log-level", "", "trace, debug, info, warn or error (default: host { log_level })")
	cmd.Flags().StringVar(&which, "generation", "", "serve the configuration of this generation, or of the last, in place of the files on disk")
	cmd.Flags().BoolVar(&logJSON, "log-json", false, "log JSON lines, as -o json does")
	return cmd
}

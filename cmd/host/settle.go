package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pluginhost/host/cmd/host/internal/report"
	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

func settleCommand(a *app) *cobra.Command {
	var value, failed string
	cmd := &cobra.Command{
		Use:   "settle TOKEN",
		Short: "Settle a delivery that an instance has detached",
		Long: `Settle a delivery that an instance has detached, with the token that it gave out:
resolve it with a value, or reject it with --error. Exit 1 when that is not taken;
the reason is unknown_token, stale_attempt or already_settled.`,
		Args: usage.Exactly("TOKEN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := control.SettleRequest{Token: args[0]}
			switch {
			case failed != "" && cmd.Flags().Changed("value"):
				return usage.Wrong(cmd, "--value and --error exclude each other")
			case failed != "":
				code, message, ok := strings.Cut(failed, ":")
				r.Err = &wire.Error{Message: strings.TrimSpace(message)}
				_ = r.Err.Code.UnmarshalText([]byte(code)) // an unknown one is unknown
				if !ok || r.Err.Code == wire.Unknown && code != "unknown" {
					return &exit{exitUsage, fmt.Sprintf("--error %s: write CODE:message, for example permission_denied:not this week", failed)}
				}
			default:
				v, err := a.payload(value)
				if err != nil {
					return err
				}
				r.Value = v
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			err = c.Settle(cmd.Context(), r)
			var no *wire.Error
			if err != nil && !errors.As(err, &no) {
				return err
			}
			if a.json() {
				if err := a.printJSON(map[string]any{"settled": no == nil, "error": no}); err != nil {
					return err
				}
				if no != nil {
					return &exit{exitFailed, ""}
				}
				return nil
			}
			if no != nil {
				return &exit{exitFailed, no.Error()}
			}
			_, _ = fmt.Fprintln(a.stdout, "settled")
			return nil
		},
	}
	cmd.Flags().StringVar(&value, "value", "null", "what to resolve it with: JSON, @FILE, or - for standard input")
	cmd.Flags().StringVar(&failed, "error", "", "reject it: CODE:message, with a code such as permission_denied or unavailable")
	return cmd
}

func deadCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "dead",
		Short: "List the deliveries that failed for good on routes with dead_letter",
		Args:  usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := ask(cmd.Context(), a, (*control.Client).Dead)
			if err != nil {
				return err
			}
			if d.Dead == nil {
				d.Dead = []observe.Dead{}
			}
			return a.show(d, func() { report.Dead(a.out(), d) })
		},
	}
}

func replayCommand(a *app) *cobra.Command {
	var r control.ReplayRequest
	cmd := &cobra.Command{
		Use:   "replay [ID…]",
		Short: "Give dead deliveries to their routes again",
		Long: `Give dead deliveries to their routes again: those of the events named, of --route, or
--all. The event keeps its id and loses its deadline; the route tries it anew, with
the input that it makes of it now. Exit 1 when one was not taken, or there is none.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, s := range args {
				id, err := wire.ParseID(s)
				if err != nil {
					return &exit{exitUsage, fmt.Sprintf("%s: not the id of an event", s)}
				}
				r.Events = append(r.Events, id)
			}
			if len(r.Events) == 0 && r.Route == "" && !r.All {
				return usage.Wrong(cmd, "replay needs ids, --route or --all")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			done, err := c.Replay(cmd.Context(), r)
			if err != nil {
				return err
			}
			refused := 0
			for _, x := range done {
				if x.Err != nil {
					refused++
				}
				if !a.json() {
					report.Replayed(a.out(), x)
				} else if err := json.NewEncoder(a.stdout).Encode(x); err != nil {
					return err
				}
			}
			switch {
			case len(done) == 0:
				return &exit{exitFailed, "no dead delivery is like that; host events dead lists them"}
			case refused > 0:
				return &exit{exitFailed, ""}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&r.Route, "route", "", "those of this route")
	cmd.Flags().BoolVar(&r.All, "all", false, "all of them")
	return cmd
}

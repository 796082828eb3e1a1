package metrics

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is one that is shown. Names, labels and meanings are in one table, so
// that what is documented is what is served.
type metric struct {
	name   string
	kind   prometheus.ValueType
	help   string
	labels []string
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// The metrics. No label has a value that a plugin or an event can make up
// without bound: reasons are bounded by the ledger, all else is configured.
var (
	info       = &metric{"host_info", gauge, "Always 1; the labels say which daemon this is.", []string{"version", "node"}}
	generation = &metric{"host_generation", gauge, "Number of the generation that serves.", nil}
	lives      = &metric{"host_manager_restarts_total", counter, "How often the spawner has started the manager again.", nil}
	light      = &metric{"host_light", gauge, "Traffic light of the daemon: 0 green, 1 yellow, 2 red.", nil}
	subsystem  = &metric{"host_subsystem_light", gauge, "Traffic light of a part of the daemon.", []string{"subsystem"}}
	draining   = &metric{"host_draining_instances", gauge, "Old instances that finish what is in flight.", nil}

	accepted = &metric{"host_events_accepted_total", counter, "Events that were accepted.", nil}
	settled  = &metric{"host_events_settled_total", counter, "Events whose promise was settled: resolved, or rejected with a reason.", []string{"outcome", "reason"}}
	pending  = &metric{"host_events_pending", gauge, "Events whose promise is pending.", nil}
	late     = &metric{"host_settles_refused_total", counter, "Settles that were refused, by reason: stale_attempt, already_settled, unknown_token or forged.", []string{"reason"}}
	replays  = &metric{"host_replays_total", counter, "Dead deliveries that were given to their route again.", []string{"route"}}
	dead     = &metric{"host_dead_deliveries", gauge, "Dead deliveries that are kept and can be replayed.", nil}

	dAccepted = &metric{"host_deliveries_accepted_total", counter, "Deliveries that a route accepted.", []string{"route"}}
	dEnded    = &metric{"host_deliveries_ended_total", counter, "Deliveries that ended: resolved, or rejected, dead or dropped with a reason.", []string{"route", "outcome", "reason"}}
	dPending  = &metric{"host_deliveries_pending", gauge, "Deliveries that have not ended: queued, in flight, detached or waiting for the next attempt.", []string{"route"}}
	attempts  = &metric{"host_attempts_total", counter, "Attempts: how often a delivery was handed to an instance.", []string{"route"}}
	retries   = &metric{"host_retries_total", counter, "Attempts that failed and were followed by another.", []string{"route"}}
	dLate     = &metric{"host_deliveries_late_total", counter, "Settles of deliveries of the route that came too late, or twice.", []string{"route"}}
	queued    = &metric{"host_queue_length", gauge, "Deliveries in the queue of a route.", []string{"route"}}
	inFlight  = &metric{"host_deliveries_in_flight", gauge, "Deliveries that an instance has in hand.", []string{"route"}}
	detached  = &metric{"host_deliveries_detached", gauge, "Deliveries that wait for whoever has their token.", []string{"route"}}

	state    = &metric{"host_instance_state", gauge, "1 for the state that an instance is in, 0 for the others.", []string{"instance", "plugin", "state"}}
	iLight   = &metric{"host_instance_light", gauge, "Traffic light of an instance.", []string{"instance", "plugin"}}
	restarts = &metric{"host_instance_restarts_total", counter, "How often the instance's process was started again after it ended by itself.", []string{"instance", "plugin"}}
	born     = &metric{"host_instance_generation", gauge, "Generation that started the instance.", []string{"instance", "plugin"}}
	credit   = &metric{"host_instance_credit", gauge, "How many more deliveries the instance accepts now.", []string{"instance", "plugin"}}
	hands    = &metric{"host_instance_in_flight", gauge, "Deliveries that the instance has in hand.", []string{"instance", "plugin"}}
	blocked  = &metric{"host_instance_blocked", gauge, "1 while an Emit of the instance waits for room.", []string{"instance", "plugin"}}
	refused  = &metric{"host_instance_refused_total", counter, "Attempts of the instance to act as somebody else; each was refused and audited.", []string{"instance", "plugin"}}
)

// The metrics of reloads are kept, not collected.
const (
	reloadsName  = "host_reloads_total"
	reloadsHelp  = "Transactions that ended, by outcome."
	durationName = "host_reload_duration_seconds"
	durationHelp = "How long transactions took, from the load to their end."
)

var all = []*metric{
	info, generation, lives, light, subsystem, draining,
	accepted, settled, pending, late, dead,
	dAccepted, dEnded, dPending, attempts, retries, replays, dLate, queued, inFlight, detached,
	state, iLight, restarts, born, credit, hands, blocked, refused,
}

// buckets of the duration of reloads, in seconds.
var buckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// Table describes the metrics as a table of Markdown, as README.md shows it.
func Table() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n")
	row := func(name, kind string, labels []string, help string) {
		l := "–"
		if len(labels) > 0 {
			l = "`" + strings.Join(labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, kind, l, help)
	}
	for _, m := range all {
		kind := "gauge"
		if m.kind == counter {
			kind = "counter"
		}
		row(m.name, kind, m.labels, m.help)
	}
	row(reloadsName, "counter", []string{"outcome"}, reloadsHelp)
	row(durationName, "histogram", nil, durationHelp)
	return b.String()
}

// Package metrics shows what the status counts in the form that Prometheus
// reads. Nothing is counted here for an event: the ledgers of the router and
// the states of the instances are read when somebody asks. Only reloads, which
// the status forgets, are kept. host wires it; host/control serves it.
package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pluginhost/host/host/observe"
)

// Bounds of what askers may cost.
const (
	maxAskers  = 4 // at once; others are told to come again
	askTimeout = 10 * time.Second
)

// Snapshot is what is read when somebody asks.
type Snapshot struct {
	observe.Status
	Refused  map[string]uint64 // settles, by reason
	Restarts int               // of the manager
}

// Metrics are those of one daemon.
type Metrics struct {
	registry *prometheus.Registry
	reloads  *prometheus.CounterVec
	duration prometheus.Histogram
}

// New returns the metrics of what read tells. It is called for each asker, from
// several goroutines.
func New(read func(context.Context) (Snapshot, error)) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(),
		reloads:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: reloadsName, Help: reloadsHelp}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: durationName, Help: durationHelp, Buckets: buckets}),
	}
	m.registry.MustRegister(newCollector(read), m.reloads, m.duration,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Reload counts the end of a transaction.
func (m *Metrics) Reload(r observe.Reload) {
	m.reloads.WithLabelValues(r.Outcome).Inc()
	m.duration.Observe(r.Elapsed.Seconds())
}

// Handler answers with all metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxAskers, Timeout: askTimeout, ErrorHandling: promhttp.HTTPErrorOnError})
}

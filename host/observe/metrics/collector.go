package metrics

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pluginhost/host/host/observe"
)

// states that an instance can be in.
var states = []string{"preparing", "ready", "restarting", "failed", "draining"}

// collector reads a snapshot for each asker.
type collector struct {
	read  func(context.Context) (Snapshot, error)
	descs map[*metric]*prometheus.Desc
}

func newCollector(read func(context.Context) (Snapshot, error)) *collector {
	c := &collector{read: read, descs: map[*metric]*prometheus.Desc{}}
	for _, m := range all {
		c.descs[m] = prometheus.NewDesc(m.name, m.help, m.labels, nil)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	s, err := c.read(ctx)
	if err != nil {
		to <- prometheus.NewInvalidMetric(c.descs[info], err)
		return
	}
	t := tally{}
	t.daemon(&s)
	for n := range s.Routes {
		t.route(&s.Routes[n])
	}
	for n := range s.Instances {
		t.instance(&s.Instances[n])
	}
	for k, v := range t {
		labels := []string{}
		if len(k.m.labels) > 0 {
			labels = strings.Split(k.labels, "\x00")
		}
		x, err := prometheus.NewConstMetric(c.descs[k.m], k.m.kind, v, labels...)
		if err != nil {
			x = prometheus.NewInvalidMetric(c.descs[k.m], err)
		}
		to <- x
	}
}

// tally adds up what has the same labels: several old generations of one route
// may still have work.
type tally map[series]float64

type series struct {
	m      *metric
	labels string
}

// add adds a value. Labels are text from a configuration or a plugin, which
// need not be UTF-8.
func (t tally) add(m *metric, v float64, labels ...string) {
	for n, l := range labels {
		labels[n] = strings.ReplaceAll(strings.ToValidUTF8(l, "\uFFFD"), "\x00", "")
	}
	t[series{m, strings.Join(labels, "\x00")}] += v
}

func (t tally) daemon(s *Snapshot) {
	t.add(info, 1, s.Version, s.Node)
	t.add(generation, float64(s.Generation))
	t.add(lives, float64(s.Restarts))
	t.add(light, rank(s.Light))
	for _, x := range s.Subsystems {
		t.add(subsystem, rank(x.Light), x.Name)
	}
	t.add(draining, float64(len(s.Draining)))
	t.add(accepted, float64(s.Events.Accepted))
	t.add(settled, float64(s.Events.Resolved), "resolved", "")
	for _, r := range s.Reasons {
		t.add(settled, float64(r.Count), r.Ending, r.Reason)
	}
	t.add(pending, float64(s.Events.Pending))
	for reason, n := range s.Refused {
		t.add(late, float64(n), reason)
	}
	t.add(dead, float64(s.Dead))
}

func (t tally) route(r *observe.Route) {
	t.add(dAccepted, float64(r.Accepted), r.Name)
	t.add(dEnded, float64(r.Resolved), r.Name, "resolved", "")
	for _, x := range r.Reasons {
		t.add(dEnded, float64(x.Count), r.Name, x.Ending, x.Reason)
	}
	t.add(dPending, float64(r.Pending), r.Name)
	t.add(attempts, float64(r.Attempts), r.Name)
	t.add(retries, float64(r.Retries), r.Name)
	t.add(replays, float64(r.Replayed), r.Name)
	t.add(dLate, float64(r.Late), r.Name)
	t.add(queued, float64(r.Queued), r.Name)
	t.add(inFlight, float64(r.InFlight), r.Name)
	t.add(detached, float64(r.Detached), r.Name)
}

func (t tally) instance(i *observe.Instance) {
	for _, x := range states {
		v := 0.0
		if i.State == x {
			v = 1
		}
		t.add(state, v, i.Address, i.Plugin, x)
	}
	t.add(iLight, rank(i.Light), i.Address, i.Plugin)
	t.add(restarts, float64(i.Restarts), i.Address, i.Plugin)
	t.add(born, float64(i.Generation), i.Address, i.Plugin)
	t.add(credit, float64(i.Credit), i.Address, i.Plugin)
	t.add(hands, float64(i.InFlight), i.Address, i.Plugin)
	v := 0.0
	if i.Waits != "" {
		v = 1
	}
	t.add(blocked, v, i.Address, i.Plugin)
	t.add(refused, float64(i.Refused), i.Address, i.Plugin)
}

func rank(l observe.Light) float64 {
	switch l {
	case observe.Yellow:
		return 1
	case observe.Red:
		return 2
	}
	return 0
}

package metrics

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/pluginhost/host/host/observe"
)

// full is a daemon of which everything is shown.
func full() Snapshot {
	books := observe.Counts{Accepted: 21, Resolved: 10, Rejected: 1, Pending: 4, Dead: 2, Dropped: 4, Attempts: 30, Retries: 9, Late: 3, Replayed: 1}
	why := []observe.Reason{{Ending: "dropped", Reason: "queue_full", Count: 4}, {Ending: "dead", Reason: "unavailable", Count: 2}, {Ending: "rejected", Reason: "crashed", Count: 1}}
	return Snapshot{
		Status: observe.Status{
			Light: observe.Yellow, Generation: 7, Version: "1", Node: "n",
			Subsystems: []observe.Subsystem{{Name: "catalog", Light: observe.Red}},
			Instances: []observe.Instance{{Address: `exec.bill["eu"]`, Plugin: "exec", State: "ready", Light: observe.Green,
				Restarts: 2, Generation: 5, Credit: 8, InFlight: 1, Waits: "for room", Refused: 3}},
			Routes: []observe.Route{
				{Name: "bill", Queued: 3, InFlight: 1, Detached: 1, Counts: books, Reasons: why},
				{Name: "bill (old)", Counts: books, Reasons: why}, {Name: "bill (old)", Counts: books, Reasons: why},
			},
			Events: observe.Counts{Accepted: 5, Resolved: 1, Rejected: 2, Pending: 2}, Dead: 2,
			Reasons: []observe.Reason{{Ending: "rejected", Reason: "unrouted", Count: 2}},
		},
		Refused: map[string]uint64{"forged": 1, "stale_attempt": 2},
	}
}

func gather(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]*dto.MetricFamily{}
	for _, f := range families {
		by[f.GetName()] = f
	}
	return by
}

func serving(s Snapshot) *Metrics {
	m := New(func(context.Context) (Snapshot, error) { return s, nil })
	m.Reload(observe.Reload{Outcome: "committed", Elapsed: time.Second})
	return m
}

// README's table is what is served, word for word and in type and labels.
func TestTableIsServed(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), Table()) {
		t.Errorf("README.md has not this table:\n%s", Table())
	}
	served := gather(t, serving(full()))
	rows := 0
	for _, line := range strings.Split(strings.TrimSpace(Table()), "\n")[2:] {
		c := strings.Split(strings.Trim(line, "| "), " | ")
		name := strings.Trim(c[0], "`")
		f := served[name]
		if f == nil {
			t.Errorf("%s is in the table and not served", name)
			continue
		}
		rows++
		if got := strings.ToLower(f.GetType().String()); got != c[1] || f.GetHelp() != c[3] {
			t.Errorf("%s is a %s, %q; the table says %s, %q", name, got, f.GetHelp(), c[1], c[3])
		}
		for _, l := range f.GetMetric()[0].GetLabel() {
			if !strings.Contains(c[2], "`"+l.GetName()+"`") {
				t.Errorf("%s has a label %s that the table has not", name, l.GetName())
			}
		}
		if strings.Count(c[2], "`") != 2*len(f.GetMetric()[0].GetLabel()) {
			t.Errorf("%s: the table says %s, served is %v", name, c[2], f.GetMetric()[0].GetLabel())
		}
	}
	for name := range served {
		if strings.HasPrefix(name, "host_") {
			rows--
		}
	}
	if rows != 0 {
		t.Errorf("%d metrics are served that the table has not", -rows)
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if served[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

// sums adds up the values of a metric, by one label.
func sums(f *dto.MetricFamily, label string) map[string]float64 {
	by := map[string]float64{}
	for _, m := range f.GetMetric() {
		key := ""
		for _, l := range m.GetLabel() {
			if l.GetName() == label {
				key = l.GetValue()
			}
		}
		by[key] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return by
}

// What was accepted has ended or is pending, as the metrics alone say, also
// where several old generations of a route have work.
func TestMetricsBalance(t *testing.T) {
	by := gather(t, serving(full()))
	accepted, ended, pending := sums(by["host_deliveries_accepted_total"], "route"), sums(by["host_deliveries_ended_total"], "route"), sums(by["host_deliveries_pending"], "route")
	if len(accepted) != 2 || accepted["bill (old)"] != 42 {
		t.Errorf("%v", accepted)
	}
	for route, n := range accepted {
		if n != ended[route]+pending[route] {
			t.Errorf("route %s: accepted %v, ended %v, pending %v", route, n, ended[route], pending[route])
		}
	}
	if a, s, p := sums(by["host_events_accepted_total"], ""), sums(by["host_events_settled_total"], ""), sums(by["host_events_pending"], ""); a[""] != s[""]+p[""] {
		t.Errorf("events: accepted %v, settled %v, pending %v", a, s, p)
	}
}

// Names and help texts are as Prometheus wants them.
func TestNamesAreConventional(t *testing.T) {
	problems, err := testutil.GatherAndLint(serving(full()).registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestHandler(t *testing.T) {
	ask := func(m *Metrics) (int, string) {
		s := httptest.NewServer(m.Handler())
		defer s.Close()
		r, err := http.Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Body.Close() }()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	code, body := ask(serving(full()))
	for _, want := range []string{
		`host_deliveries_ended_total{outcome="dropped",reason="queue_full",route="bill"} 4`,
		`host_instance_state{instance="exec.bill[\"eu\"]",plugin="exec",state="ready"} 1`,
		`host_settles_refused_total{reason="forged"} 1`,
		`host_reloads_total{outcome="committed"} 1`,
		`host_reload_duration_seconds_bucket{le="1"} 1`,
	} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("%d, no %s in\n%s", code, want, body)
		}
	}
	broken := New(func(context.Context) (Snapshot, error) { return Snapshot{}, errors.New("not now") })
	if code, body := ask(broken); code != 500 || !strings.Contains(body, "not now") {
		t.Errorf("%d %s", code, body)
	}
	odd := full()
	odd.Routes[0].Reasons[0].Reason = "a\xffb\x00c"
	if code, body := ask(serving(odd)); code != 200 || !strings.Contains(body, "reason=\"a\uFFFDbc\"") {
		t.Errorf("%d: what is not text", code)
	}
}

package host_test

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/control"
)

var (
	sample  = regexp.MustCompile(`(?m)^(host_\w+)(?:\{(.*)\})? (\S+)$`)
	ofRoute = regexp.MustCompile(`route="((?:[^"\\]|\\.)*)"`)
)

// balanceMetrics checks that the metrics alone say that what was accepted has
// ended or is pending, of each route and of all events.
func balanceMetrics(text []byte) error {
	left := map[string]float64{"": 0}
	sign := map[string]float64{
		"host_events_accepted_total": 1, "host_events_settled_total": -1, "host_events_pending": -1,
		"host_deliveries_accepted_total": 1, "host_deliveries_ended_total": -1, "host_deliveries_pending": -1,
	}
	seen := 0
	for _, m := range sample.FindAllStringSubmatch(string(text), -1) {
		s, ok := sign[m[1]]
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return fmt.Errorf("%s: %w", m[0], err)
		}
		route := ""
		if r := ofRoute.FindStringSubmatch(m[2]); r != nil {
			route = "route " + r[1]
		}
		left[route] += s * v
		seen++
	}
	var errs []error
	if seen < 3 {
		errs = append(errs, fmt.Errorf("the metrics have no ledger:\n%.2000s", text))
	}
	for route, v := range left {
		if v != 0 {
			errs = append(errs, fmt.Errorf("metrics: %q: accepted is not the sum of the rest, %v are left over", route, v))
		}
	}
	return errors.Join(errs...)
}

// The checker is checked.
func TestBalanceMetricsSeesFaults(t *testing.T) {
	good := `host_events_accepted_total 2
host_events_pending 1
host_events_settled_total{outcome="resolved",reason=""} 1
host_deliveries_accepted_total{route="a"} 3
host_deliveries_pending{route="a"} 1
host_deliveries_ended_total{outcome="dropped",reason="queue_full",route="a"} 2
`
	if err := balanceMetrics([]byte(good)); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]string{
		"one dropped unseen": strings.Replace(good, `route="a"} 2`, `route="a"} 1`, 1),
		"one settled twice":  strings.Replace(good, `reason=""} 1`, `reason=""} 2`, 1),
		"nothing":            "",
	} {
		if balanceMetrics([]byte(bad)) == nil {
			t.Errorf("%s: not seen", name)
		}
	}
}

// What happened to events and reloads is in the metrics.
func TestMetrics(t *testing.T) {
	d := run(t, setup(t, failing(2), "probe-1.0.0"))
	d.emit("probe.a.said", `{"text":"x","count":1}`) // the second attempt succeeds
	d.emit("probe.a.said", `{"text":"y","count":9}`) // both fail
	if err := d.Settle(t.Context(), control.SettleRequest{Token: "never-was"}); err == nil {
		t.Error("a token that never was is taken")
	}
	d.must(apply.Unchanged)
	d.write("host.hcl", `plugin "nothing" "x" {}`)
	d.must(apply.Invalid)
	text, err := d.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`host_generation 1`, `host_events_accepted_total`, `host_instance_state{instance="probe.a",plugin="probe",state="ready"} 1`,
		`host_deliveries_accepted_total{route="r"} 2`, `host_attempts_total{route="r"} 4`, `host_retries_total{route="r"} 2`,
		`host_deliveries_ended_total{outcome="resolved",reason="",route="r"} 1`, `host_dead_deliveries 1`,
		`host_settles_refused_total{reason="unknown_token"} 1`,
		`host_reloads_total{outcome="committed"} 1`, `host_reloads_total{outcome="unchanged"} 1`, `host_reloads_total{outcome="invalid"} 1`,
		`host_reload_duration_seconds_count 3`, `go_goroutines`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

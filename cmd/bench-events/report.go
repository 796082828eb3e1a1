package main

import (
	"encoding/json"
	"fmt"
	"math"
)

// target is a ratio that the project promises.
type target struct {
	what  string
	ratio float64
	most  bool // it is an upper bound
	bound float64
}

func (t target) met() bool {
	if t.most {
		return t.ratio <= t.bound
	}
	return t.ratio >= t.bound
}

func targets(f figures) []target {
	return []target{
		{"256 B: events/s, times naive's", f["host_eps"] / f["naive_eps"], false, 30},
		{"256 B: events/s, part of the relay's", f["host_eps"] / f["relay_eps"], false, 0.25},
		{"256 B: p50 one at a time, part of naive's", f["host_p50_us"] / f["naive_p50_us"], true, 0.5},
		{"256 B: p50 one at a time, times the relay's", f["host_p50_us"] / f["relay_p50_us"], true, 2},
		{"256 B: CPU per event, part of naive's", f["host_cpu_s_per_m"] / f["naive_cpu_s_per_m"], true, 0.05},
		{"4 KiB: events/s, times naive's", f["host_eps_4k"] / f["naive_eps_4k"], false, 8},
		{"4 KiB: events/s, part of the relay's", f["host_eps_4k"] / f["relay_eps_4k"], false, 0.5},
		{"when on two fields of 400 B, part of the rate without", f["when_ratio"], false, 0.6},
		{"1,000 routes, part of the rate with one", f["routes_1000_ratio"], false, 0.9},
		{"memory after the events, part of that before", f["rss_mb_end"] / f["rss_mb_start"], true, 1.1},
	}
}

func report(f figures) error {
	fmt.Printf("\nmedians of the rounds\n\n%-6s %12s %10s %10s   %12s %10s %10s\n", "",
		"events/s", "p50 µs", "CPU s/M", "4 KiB: ev./s", "p50 µs", "CPU s/M")
	for _, s := range []string{"naive", "host", "relay"} {
		if f[s+"_eps"] == 0 {
			continue
		}
		fmt.Printf("%-6s %12.0f %10.1f %10.2f   %12.0f %10.1f %10.2f\n", s,
			f[s+"_eps"], f[s+"_p50_us"], f[s+"_cpu_s_per_m"], f[s+"_eps_4k"], f[s+"_p50_us_4k"], f[s+"_cpu_s_per_m_4k"])
	}
	fmt.Printf("\nhost, 256 B, with a goroutine waiting for each event: %.0f events/s\n", f["blocking_eps"])
	fmt.Printf("host, 400 B of JSON: %.0f events/s, with a when on two fields %.0f\n"+
		"host, 256 B: %.0f events/s with one route, %.0f over 1,000 routes on as many types\n\n",
		f["400_eps"], f["when_eps"], f["routes_1_eps"], f["routes_1000_eps"])
	for _, t := range targets(f) {
		if math.IsNaN(t.ratio) || math.IsInf(t.ratio, 0) || t.ratio == 0 {
			continue // left out by a flag
		}
		sign, verdict := "≥", "met"
		if t.most {
			sign = "≤"
		}
		if !t.met() {
			verdict = "NOT MET"
		}
		fmt.Printf("%-55s %7.3f   %s %-5g  %s\n", t.what, t.ratio, sign, t.bound, verdict)
	}
	for k, v := range f {
		f[k] = math.Round(v*100) / 100
	}
	line, err := json.Marshal(f)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n", line)
	return nil
}

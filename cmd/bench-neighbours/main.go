// Command bench-neighbours measures what a plugin that misbehaves does to the
// others. A client sends requests at a fixed rate to plugins/http, each an event
// whose outcome another plugin's process makes; meanwhile a third plugin allocates
// without end, forks without end, opens descriptors without end, fills the file
// system of its state, reads another plugin's files, or dials out, each on all
// processors. Before and during that the latency which 99 of 100 requests do not
// exceed is measured, in turns, several times.
//
// It prints a table and one line of JSON, and ends with 1 unless each was
// contained, named in the promise that it was asked with, and the median of the
// ratios is at most -most.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	host, plugins, limits string
	length                time.Duration
	rounds, rate          int
	most                  float64
	only                  string
}

// deeds are what is done, and what names it in the promise. The last two are no
// misdeeds and asked for by name only: with none, the ratio is how much two
// measurements of the same differ.
var deeds = []struct {
	how   string
	named []string
}{
	{"alloc", []string{"memory limit"}},
	{"fork", []string{"resource temporarily unavailable", "processes and threads"}},
	{"open", []string{"too many open files"}},
	{"fill", []string{"no space left on device"}},
	{"read", []string{"permission denied"}},
	{"dial", []string{"permission denied"}},
	{"spin", []string{"nothing"}},
	{"none", []string{"nothing"}},
}

// result is one deed's, over all rounds. Latencies are medians, in milliseconds.
type result struct {
	How    string    `json:"how"`
	Before float64   `json:"before_p99_ms"`
	During float64   `json:"during_p99_ms"`
	Ratios []float64 `json:"ratios"`
	Ratio  float64   `json:"ratio"` // their median
	Failed int       `json:"failed_requests"`
	Reason string    `json:"reason"`
	Status string    `json:"status"`
	OK     bool      `json:"ok"`
}

func main() {
	if os.Getenv("HOST_PLUGIN") != "" || len(os.Args) == 2 && os.Args[1] == bomb {
		servePlugin()
		return
	}
	var o options
	flag.StringVar(&o.host, "host", "bin/host", "the daemon's executable")
	flag.StringVar(&o.plugins, "plugins", "bin/plugins", "directory with the plugin http")
	flag.StringVar(&o.limits, "limits", `memory = "1GiB"`, "lines for the process block of the plugin that misbehaves; empty: what holds without")
	flag.DurationVar(&o.length, "for", 3*time.Second, "length of one measurement")
	flag.IntVar(&o.rounds, "rounds", 5, "measurements of each")
	flag.IntVar(&o.rate, "rate", 300, "requests a second")
	flag.Float64Var(&o.most, "most", 2, "the ratio that is passed")
	flag.StringVar(&o.only, "only", "", "some of alloc,fork,open,fill,read,dial; empty for all")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-neighbours:", err)
		cancel()
		os.Exit(1)
	}
}

func bench(ctx context.Context, o options) (err error) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "*** NOT ROOT: control groups and a file system of its own are missing, so that alloc, fork and fill are not as they should be")
	}
	for _, path := range []*string{&o.host, &o.plugins} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	d, err := startDaemon(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := urgent(); err != nil {
		fmt.Fprintf(os.Stderr, "*** NOT URGENT: what is measured contains how long the client waits for a processor: %v\n", err)
	}
	l := newLoad(d.url, o.rate)
	if _, _, _, err := l.run(ctx, time.Second); err != nil { // everything has run once
		return err
	}
	all := map[string]*result{}
	for _, deed := range deeds {
		if o.only == "" && deed.named[0] != "nothing" || slices.Contains(strings.Split(o.only, ","), deed.how) {
			all[deed.how] = &result{How: deed.how}
		}
	}
	var before, during = map[string][]float64{}, map[string][]float64{}
	for range o.rounds {
		for _, deed := range deeds {
			if r := all[deed.how]; r != nil {
				b, w, err := measure(ctx, o, d, l, r)
				if err != nil {
					return fmt.Errorf("%s: %w", deed.how, err)
				}
				before[deed.how], during[deed.how] = append(before[deed.how], b), append(during[deed.how], w)
				r.Ratios = append(r.Ratios, round(w/b))
			}
		}
	}
	var results []*result
	fmt.Printf("%-6s %12s %12s %7s  %s\n", "", "before p99", "during p99", "ratio", "the promise, and the status")
	for _, deed := range deeds {
		r := all[deed.how]
		if r == nil {
			continue
		}
		r.Before, r.During, r.Ratio = round(median(before[deed.how])), round(median(during[deed.how])), median(r.Ratios)
		named := slices.ContainsFunc(deed.named, func(s string) bool { return strings.Contains(r.Reason, s) })
		r.OK = r.Ratio <= o.most && r.Failed == 0 && named
		if !r.OK {
			err = errors.Join(err, fmt.Errorf("%s: ratio %.2f (at most %.2f), %d requests failed, named: %v", r.How, r.Ratio, o.most, r.Failed, named))
		}
		results = append(results, r)
		fmt.Printf("%-6s %9.2f ms %9.2f ms %7.2f  %s | %s\n", r.How, r.Before, r.During, r.Ratio, r.Reason, r.Status)
	}
	line, _ := json.Marshal(map[string]any{"rate": o.rate, "seconds": o.length.Seconds(), "rounds": o.rounds, "limits": o.limits, "results": results}) // it can be
	fmt.Println(string(line))
	return err
}

// grace is how much longer than asked something may take before the benchmark
// gives up.
const grace = 30 * time.Second

// measure returns the p99 of the neighbour before and during a deed, in ms.
func measure(ctx context.Context, o options, d *daemon, l *load, r *result) (before, during float64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*o.length+2*grace, fmt.Errorf("given up: not measured within %s", 2*o.length+2*grace))
	defer cancel()
	_, p, failed, err := l.run(ctx, o.length)
	if err != nil {
		return 0, 0, fmt.Errorf("before: %w", err)
	}
	what := deed{How: r.How, For: (o.length + time.Second).String()}
	switch r.How {
	case "read":
		what.Target = filepath.Join(d.dir, "state", "generations", "log.jsonl")
	case "fill":
		what.Target = filepath.Join(d.dir, "state", "instances", "rogue")
	}
	enough, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- d.keepOn(ctx, what, r, enough) }()
	time.Sleep(300 * time.Millisecond) // it has begun
	_, w, lost, lerr := l.run(ctx, o.length)
	in, err := d.rogue(ctx)
	if err != nil {
		return 0, 0, err
	}
	if in.Reason != "" {
		r.Status = in.State + ": " + in.Reason
	}
	close(enough)
	ended := false
	select {
	case err = <-done:
		ended = true
	case <-time.After(4 * time.Second): // it is too busy to answer
	}
	err = errors.Join(err, d.end(ctx))
	if !ended {
		err = errors.Join(err, <-done)
	}
	r.Failed += failed + lost
	if lerr != nil {
		fmt.Fprintf(os.Stderr, "during %s: %d requests failed, the last: %v\n", r.How, lost, lerr)
	}
	return ms(p), ms(w), err
}

// keepOn has the plugin misbehave until it is enough: what ends it starts it again.
func (d *daemon) keepOn(ctx context.Context, what deed, r *result, enough <-chan struct{}) error {
	for {
		reason, err := d.provoke(ctx, what)
		if err != nil {
			return err
		}
		r.Reason = reason
		select {
		case <-enough:
			return nil
		default:
		}
		if err := d.ready(ctx); err != nil {
			return err
		}
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func round(f float64) float64 { return math.Round(f*100) / 100 }

func median(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}

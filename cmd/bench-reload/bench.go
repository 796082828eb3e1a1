package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/pluginhost/host/cmd/bench-reload/internal/client"
)

// caseNames are what happens while the client goes on.
func caseNames() []string {
	return []string{"without", "unchanged", "route", "port", "replaced", "upgraded", "killed", "invalid", "taken"}
}

// told says what the cases are, for people.
var told = map[string]string{
	"without":   "no reload, for comparison",
	"unchanged": "nothing changed",
	"route":     "one route (location) changes",
	"port":      "one more port, one less",
	"replaced":  "the instance (server) that answers is replaced",
	"upgraded":  "the plugin's executable is another",
	"killed":    "the process that answers is ended with SIGKILL",
	"invalid":   "every second configuration is invalid",
	"taken":     "every second configuration wants a port that is taken",
}

// result is one measurement.
type result struct {
	what, server string
	rate         int
	seen         client.Seen
	reloads      []time.Duration
	changes      int
}

// lost counts the requests that failed, and those that were inside of a process
// that was killed: their connection had been accepted there.
func (r *result) lost() (failed, inside int) {
	for _, kinds := range []map[string]int{r.seen.Failed, r.seen.Keep.Broken, r.seen.Long.Broken} {
		for kind, n := range kinds {
			if r.what == "killed" && (kind == "reset" || kind == "closed") {
				inside += n
			} else {
				failed += n
			}
		}
	}
	return failed, inside
}

// warm is how long a server is asked before it is measured, at the same rate: a
// cold cache, or a heap that still grows, is no matter of reloads.
const warm = time.Second

func bench(ctx context.Context, o options) error {
	if err := missing(o.servers); err != nil {
		return err
	}
	fmt.Printf("%d CPUs, %s; a reload every %s for %s; %d connections kept alive with a request each %s, %d with requests of %s\n",
		runtime.NumCPU(), runtime.Version(), o.every, o.length, client.Kept, client.KeepPause, client.Long, hold)
	var results []result
	for _, what := range o.cases {
		fmt.Printf("\n%s: %s\n%-6s %6s %8s %7s %22s %9s %9s %9s %14s %14s %8s %9s\n", what, told[what],
			"", "rate", "requests", "failed", "how", "p50", "p99", "max", "keep-alive", "long", "changes", "reload")
		for _, rate := range o.rates {
			for _, name := range o.servers {
				r, err := measure(ctx, o, name, what, rate)
				if errors.Is(err, errNotMeasured) {
					continue
				}
				if err != nil {
					return fmt.Errorf("%s, %s at %d/s: %w", name, what, rate, err)
				}
				results = append(results, *r)
				r.print()
			}
		}
	}
	sizes, err := measureSizes(ctx, o)
	if err != nil {
		return err
	}
	return summarize(results, sizes)
}

// place makes a server in a directory of its own.
func place(o options, name string) (server, ports, error) {
	p, err := freePorts(5)
	if err != nil {
		return nil, ports{}, err
	}
	dir, err := os.MkdirTemp("", "bench-reload")
	if err != nil {
		return nil, ports{}, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's workers are another user's
		return nil, ports{}, err
	}
	ports := ports{p[0], p[1], p[2], p[3], p[4]}
	return makers[name](o, dir, ports), ports, nil
}

func measure(ctx context.Context, o options, name, what string, rate int) (*result, error) {
	s, p, err := place(o, name)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	if !s.has(what) {
		return nil, errNotMeasured
	}
	if what == "taken" {
		l, err := listen(at(p.extra))
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	if what == "killed" && (name == "host" || name == "events") {
		if _, err := s.change(ctx, what, 0); err != nil {
			return nil, err
		}
	}
	r := &result{what: what, server: name, rate: rate}
	stop, err := startClient(ctx, client.Load{Live: at(p.live), Steady: at(p.steady), Slow: at(p.slow), Rate: rate, Warm: warm, For: o.length}, &r.seen)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stop(false) }() // the error of a client that is ended says nothing
	if what == "without" {
		return r, stop(true)
	}
	begin := time.Now()
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	for n := 1; time.Since(begin) < o.length; n++ {
		took, err := s.change(ctx, what, n)
		if err != nil {
			return nil, err
		}
		r.changes++
		if took > 0 {
			r.reloads = append(r.reloads, took)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return r, stop(true)
}

// startClient starts the client and returns when its connections are open and the
// server is warm. stop waits for what it has seen, or ends it.
func startClient(ctx context.Context, l client.Load, into *client.Seen) (stop func(wait bool) error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.Warm+l.For+2*patience)
	cmd := exec.CommandContext(ctx, self, "client")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	out := bufio.NewReader(pipe)
	ended := false
	stop = func(wait bool) error {
		defer cancel()
		if ended {
			return nil
		}
		ended = true
		if !wait {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was ended
			return nil
		}
		err := json.NewDecoder(out).Decode(into)
		return errors.Join(err, cmd.Wait())
	}
	err = json.NewEncoder(in).Encode(l)
	if err == nil {
		_, err = out.ReadString('\n')
	}
	if err != nil {
		return nil, errors.Join(err, stop(false))
	}
	return stop, nil
}

func (r *result) print() {
	failed, inside := r.lost()
	var how []string
	for kind, n := range r.seen.Failed {
		how = append(how, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(how)
	if inside > 0 {
		how = append(how, fmt.Sprintf("(%d inside)", inside))
	}
	stream := func(s client.Stream) string {
		broken := 0
		for _, n := range s.Broken {
			broken += n
		}
		return fmt.Sprintf("%d/%d/%d", s.Requests, s.Ended, broken)
	}
	reload := "-"
	if len(r.reloads) > 0 {
		reload = millis(median(r.reloads))
	}
	fmt.Printf("%-6s %6d %8d %7d %22s %9s %9s %9s %14s %14s %8d %9s\n", r.server, r.rate, r.seen.Requests, failed, strings.Join(how, ", "),
		millis(r.seen.P50), millis(r.seen.P99), millis(r.seen.Max), stream(r.seen.Keep), stream(r.seen.Long), r.changes, reload)
	for kind, n := range r.seen.Keep.Broken {
		fmt.Printf("       keep-alive: %d %s\n", n, kind)
	}
	for kind, n := range r.seen.Long.Broken {
		fmt.Printf("       long: %d %s\n", n, kind)
	}
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", inMillis(d)) }

func inMillis(d time.Duration) float64 { return float64(d.Microseconds()/100) / 10 }

func median(all []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(all))
	return s[len(s)/2]
}

// summarize prints what the issue of all is, and a line for machines.
func summarize(results []result, sizes []sized) error {
	line := struct {
		Failed    map[string]map[string]int     `json:"failed"`
		Inside    map[string]int                `json:"inside_killed"`
		Max       map[string]map[string]float64 `json:"max_ms"`
		P99       map[string]map[string]float64 `json:"p99_ms"`
		Reload    map[string]map[string]float64 `json:"reload_ms"`
		AfterLoad map[string]float64            `json:"after_load_ms"`
	}{map[string]map[string]int{}, map[string]int{}, map[string]map[string]float64{}, map[string]map[string]float64{}, map[string]map[string]float64{}, map[string]float64{}}
	for _, r := range results {
		if line.Failed[r.what] == nil {
			line.Failed[r.what], line.Max[r.what], line.P99[r.what] = map[string]int{}, map[string]float64{}, map[string]float64{}
		}
		failed, inside := r.lost()
		line.Failed[r.what][r.server] += failed
		if r.what == "killed" {
			line.Inside[r.server] += inside
		}
		line.Max[r.what][r.server] = max(line.Max[r.what][r.server], inMillis(r.seen.Max))
		line.P99[r.what][r.server] = max(line.P99[r.what][r.server], inMillis(r.seen.P99))
	}
	for _, s := range sizes {
		if line.Reload[s.server] == nil {
			line.Reload[s.server] = map[string]float64{}
		}
		line.Reload[s.server][fmt.Sprint(s.size)] = inMillis(s.whole)
		if s.phases > 0 {
			line.AfterLoad[fmt.Sprint(s.size)] = inMillis(s.phases)
		}
	}
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	fmt.Printf("\nkeep-alive and long: requests/connections that the server ended properly/broken. inside: requests that a killed process had accepted.\n\n%s\n", b)
	return nil
}

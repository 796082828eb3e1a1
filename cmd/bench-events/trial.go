package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
)

// trial is one thing to measure, once a round. Its figures are the medians.
type trial struct {
	system *system
	name   string // of the figures, behind an underscore; empty for the plain ones
	order  order

	rate, p50, cpu []float64
}

// pair are two trials whose ratio matters. They take turns in short slices, so
// that both see the same machine; the ratio is the median of those of the slices.
type pair struct {
	name      string
	one, base *trial
}

// slicesOfRound is how many times in a round the trials of a pair take turns, each for
// a quarter of a measurement's length.
const slicesOfRound = 8

func (p *pair) ratio() float64 {
	var all []float64
	for i := range p.one.rate {
		all = append(all, p.one.rate[i]/p.base.rate[i])
	}
	return median(all)
}

// run measures a round.
func (p *pair) run(ctx context.Context) error {
	for i := range slicesOfRound {
		turns := []*trial{p.one, p.base}
		if i%2 == 1 { // who comes second has no advantage
			slices.Reverse(turns)
		}
		for _, t := range turns {
			if _, err := t.run(ctx, t.order); err != nil {
				return err
			}
		}
	}
	return nil
}

// run measures once.
func (t *trial) run(ctx context.Context, o order) (outcome, error) {
	r, cpu, err := t.system.measure(ctx, o)
	if err != nil {
		return r, fmt.Errorf("%s: %w", t.system.name, err)
	}
	t.rate = append(t.rate, r.rate())
	t.p50 = append(t.p50, float64(r.P50.Nanoseconds())/1e3)
	t.cpu = append(t.cpu, cpu.Seconds()/float64(r.Events)*1e6)
	return r, nil
}

// The payloads whose rates are compared.
const (
	small  = 256
	large  = 4096
	judged = 400 // of JSON with fields, for when
)

// trials are what is measured, in the order of a round. The systems take turns,
// so that what disturbs the machine disturbs all of them.
func trials(s settings, naive, host, relay *system) []*trial {
	var all []*trial
	for _, size := range []int{small, large} {
		name := ""
		if size == large {
			name = "_4k"
		}
		for _, on := range []*system{naive, host, relay} {
			all = append(all,
				&trial{system: on, name: name, order: order{Event: "sent", Window: s.window, Size: size, For: s.length}},
				&trial{system: on, name: name, order: order{Event: "sent", Window: 1, Size: size, For: s.length / 2}})
		}
	}
	return append(all,
		&trial{system: host, name: "_blocking", order: order{Event: "sent", Window: s.window, Size: small, For: s.length, Blocking: true}})
}

// pairs are what is measured in turns.
func pairs(s settings, host, wide *system) []*pair {
	on := func(x *system, name, event string, size int) *trial {
		return &trial{system: x, name: name, order: order{Event: event, Window: s.window, Size: size, For: s.length / 4}}
	}
	return []*pair{
		{"when", on(host, "_when", "judged", judged), on(host, "_400", "sent", judged)},
		{"routes_1000", on(wide, "_routes_1000", "many", small), on(host, "_routes_1", "sent", small)},
	}
}

func bench(ctx context.Context, s settings, only string) error {
	naive, host, relay := &system{name: "naive"}, &system{name: "host"}, &system{name: "relay"}
	wide := &system{name: "host"} // a second daemon, with many routes
	systems := []*system{naive, host, wide, relay}
	if only != "" { // host is two: wide goes with it
		systems = slices.DeleteFunc(systems, func(x *system) bool { return x.name != only })
	}
	defer func() {
		for _, x := range systems {
			x.stop()
		}
	}()
	for _, x := range systems {
		var err error
		switch x {
		case naive:
			err = x.startRole(ctx, "naive-host")
		case relay:
			err = x.startRole(ctx, "relay")
		case host:
			err = x.startDaemon(ctx, s.host, config)
		case wide:
			err = x.startDaemon(ctx, s.host, wideConfig())
		}
		if err != nil {
			return fmt.Errorf("start %s: %w", x.name, err)
		}
	}
	all := trials(s, naive, host, relay)
	all = slices.DeleteFunc(all, func(t *trial) bool { return !slices.Contains(systems, t.system) })
	both := pairs(s, host, wide)
	if !slices.Contains(systems, host) {
		both = nil
	}
	warm := slices.Clone(all)
	for _, p := range both {
		warm = append(warm, p.one, p.base)
	}
	fmt.Printf("rate with %d in flight, latency one at a time; %d rounds; %d CPUs, %s\n\n",
		s.window, s.rounds, runtime.NumCPU(), runtime.Version())
	for _, t := range warm { // what is made on first use is made now
		o := t.order
		o.For = s.length / 8
		if _, _, err := t.system.measure(ctx, o); err != nil {
			return fmt.Errorf("%s: %w", t.system.name, err)
		}
	}
	for round := range s.rounds {
		for _, t := range all {
			r, err := t.run(ctx, t.order)
			if err != nil {
				return err
			}
			what := fmt.Sprintf("%9.0f events/s  %6.2f CPU s per million", r.rate(), last(t.cpu))
			if t.order.Window == 1 {
				what = fmt.Sprintf("%9.1f µs p50", last(t.p50))
			}
			fmt.Printf("round %d  %-18s %5d B  %s\n", round+1, t.system.name+t.name, t.order.Size, what)
		}
		for _, p := range both {
			if err := p.run(ctx); err != nil {
				return err
			}
			fmt.Printf("round %d  %-18s %5d B  %9.0f events/s, %.2f of %.0f, over %d pairs\n", round+1, "host"+p.one.name,
				p.one.order.Size, median(p.one.rate), p.ratio(), median(p.base.rate), len(p.one.rate))
		}
	}
	f := collect(warm)
	for _, p := range both {
		f[p.name+"_ratio"] = p.ratio()
	}
	if s.soak > 0 && slices.Contains(systems, host) {
		if err := soak(ctx, s, host, f); err != nil {
			return err
		}
	}
	return report(f)
}

// soak watches the memory of the daemon and its plugins over many events. It
// looks whenever a tenth of them has passed, with nothing in flight.
func soak(ctx context.Context, s settings, host *system, f figures) error {
	fmt.Println()
	for part := range 11 {
		if part > 0 {
			if _, _, err := host.measure(ctx, order{Event: "sent", Window: s.window, Size: small, Events: max(s.soak/10, 1)}); err != nil {
				return fmt.Errorf("soak: %w", err)
			}
		}
		mb, err := host.memory()
		if err != nil {
			return err
		}
		fmt.Printf("%9d events  %6.1f MB resident in the daemon and its plugins\n", part*(s.soak/10), mb)
		if part == 0 {
			f["rss_mb_start"] = mb
		}
		f["rss_mb_end"] = mb
	}
	return nil
}

// figures are what the line of JSON holds.
type figures map[string]float64

func collect(all []*trial) figures {
	f := figures{}
	for _, t := range all {
		rate, p50, cpu := median(t.rate), median(t.p50), median(t.cpu)
		name := t.system.name
		switch t.name {
		case "", "_4k":
			if t.order.Window == 1 {
				f[name+"_p50_us"+t.name] = p50
			} else {
				f[name+"_eps"+t.name], f[name+"_cpu_s_per_m"+t.name] = rate, cpu
			}
		case "_when":
			f["when_eps"], f["when_cpu_s_per_m"] = rate, cpu
		default:
			f[t.name[1:]+"_eps"], f[t.name[1:]+"_cpu_s_per_m"] = rate, cpu
		}
	}
	return f
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func last(x []float64) float64 { return x[len(x)-1] }

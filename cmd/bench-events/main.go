// Command bench-events measures acknowledged events over two hops, from a
// plugin process through a host process to another plugin process, and the
// promise back, on three systems in turns:
//
//	naive  a go-plugin host as its examples show it: a unary gRPC call for each
//	       event from the plugin to the host, and one from the host to the other
//	host   this project's daemon, its plugins through the SDK
//	relay  the floor: a process that passes frames from one unix socket to
//	       another and the answers back, and does nothing else
//
// Each system runs in processes of its own, all from this executable but the
// daemon. It prints a table, the ratios, and one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"
)

// order is what a source is told to do.
type order struct {
	Window int           `json:"window"` // events in flight
	Size   int           `json:"size"`   // bytes of data
	For    time.Duration `json:"for"`
}

// outcome is what a source has measured.
type outcome struct {
	Events  int           `json:"events"`
	Elapsed time.Duration `json:"elapsed"`
	P50     time.Duration `json:"p50"`
}

func main() {
	switch {
	case os.Getenv("HOST_PLUGIN") != "":
		servePlugin()
		return
	case os.Getenv(naiveCookie) != "":
		serveNaive()
		return
	case len(os.Args) == 2 && roles[os.Args[1]] != nil:
		if err := roles[os.Args[1]](); err != nil {
			fmt.Fprintf(os.Stderr, "bench-events %s: %v\n", os.Args[1], err)
			os.Exit(1)
		}
		return
	}
	host := flag.String("host", "bin/host", "the daemon's executable")
	rounds := flag.Int("rounds", 3, "rounds, in each of which every system is measured")
	length := flag.Duration("for", 3*time.Second, "length of one measurement")
	size := flag.Int("size", 256, "bytes of an event's data")
	window := flag.Int("window", 1024, "events in flight where the rate is measured")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 || *size < 1 || *window < 1 || *length <= 0 {
		flag.Usage()
		os.Exit(64)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, *host, *rounds, order{Window: *window, Size: *size, For: *length}); err != nil {
		fmt.Fprintln(os.Stderr, "bench-events:", err)
		stop()
		os.Exit(1)
	}
}

// roles are the processes that the benchmark starts from its own executable.
var roles = map[string]func() error{
	"naive-host":   naiveHost,
	"relay":        relay,
	"relay-source": relaySource,
	"relay-sink":   relaySink,
}

func bench(ctx context.Context, host string, rounds int, o order) error {
	systems := []*system{{name: "naive"}, {name: "host"}, {name: "relay"}}
	defer func() {
		for _, s := range systems {
			s.stop()
		}
	}()
	for _, s := range systems {
		var err error
		if s.name == "host" {
			err = s.startDaemon(ctx, host)
		} else {
			err = s.startRole(ctx, map[string]string{"naive": "naive-host", "relay": "relay"}[s.name])
		}
		if err != nil {
			return fmt.Errorf("start %s: %w", s.name, err)
		}
	}
	fmt.Printf("%d bytes, rate with %d in flight, latency one at a time; %d rounds of %s each; %d CPUs, %s\n\n",
		o.Size, o.Window, rounds, o.For, runtime.NumCPU(), runtime.Version())
	one := o
	one.Window = 1
	for _, s := range systems { // what is made on first use is made now
		if _, _, err := s.measure(ctx, order{Window: o.Window, Size: o.Size, For: o.For / 4}); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for round := range rounds {
		for _, s := range systems {
			many, cpu, err := s.measure(ctx, o)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			single, _, err := s.measure(ctx, one)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			s.eps = append(s.eps, float64(many.Events)/many.Elapsed.Seconds())
			s.p50 = append(s.p50, float64(single.P50.Nanoseconds())/1e3)
			s.cpu = append(s.cpu, cpu.Seconds()/float64(many.Events)*1e6)
			fmt.Printf("round %d  %-5s  %9.0f events/s  p50 %7.1f µs  %6.2f CPU s per million\n",
				round+1, s.name, last(s.eps), last(s.p50), last(s.cpu))
		}
	}
	return report(systems)
}

func report(systems []*system) error {
	fmt.Printf("\nmedians of the rounds\n\n%-6s %12s %10s %24s\n", "", "events/s", "p50 µs", "CPU s per million events")
	figures := map[string]float64{}
	for _, s := range systems {
		eps, p50, cpu := median(s.eps), median(s.p50), median(s.cpu)
		fmt.Printf("%-6s %12.0f %10.1f %24.2f\n", s.name, eps, p50, cpu)
		figures[s.name+"_eps"], figures[s.name+"_p50_us"], figures[s.name+"_cpu_s_per_m"] = eps, p50, cpu
	}
	fmt.Printf("\nhost is %.1f times naive and %.0f %% of the relay in events/s, takes %.2f times naive's time for one event\n"+
		"and %.2f times the relay's, and 1/%.0f of naive's CPU for each event.\n\n",
		figures["host_eps"]/figures["naive_eps"], 100*figures["host_eps"]/figures["relay_eps"],
		figures["host_p50_us"]/figures["naive_p50_us"], figures["host_p50_us"]/figures["relay_p50_us"],
		figures["naive_cpu_s_per_m"]/figures["host_cpu_s_per_m"])
	for k, v := range figures {
		figures[k] = float64(int(v*100+0.5)) / 100
	}
	line, err := json.Marshal(figures)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

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
// daemon. It prints tables, the ratios beside their targets, and one line of
// JSON.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

// order is what a source is told to do.
type order struct {
	Event  string        `json:"event,omitempty"`  // what the daemon's source emits; see plugin.go
	Window int           `json:"window"`           // events in flight
	Size   int           `json:"size"`             // bytes of data
	For    time.Duration `json:"for,omitempty"`    // how long, or
	Events int           `json:"events,omitempty"` // how many
	// Blocking has a goroutine wait for each event, in the daemon's source too.
	Blocking bool `json:"blocking,omitempty"`
}

// outcome is what a source has measured.
type outcome struct {
	Events  int           `json:"events"`
	Elapsed time.Duration `json:"elapsed"`
	P50     time.Duration `json:"p50"`
}

func (o outcome) rate() float64 { return float64(o.Events) / o.Elapsed.Seconds() }

// settings are the flags.
type settings struct {
	host   string
	rounds int
	length time.Duration
	window int
	soak   int
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
	var s settings
	flag.StringVar(&s.host, "host", "bin/host", "the daemon's executable")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds, in each of which everything is measured once")
	flag.DurationVar(&s.length, "for", 2*time.Second, "length of one measurement")
	flag.IntVar(&s.window, "window", 1024, "events in flight where the rate is measured")
	flag.IntVar(&s.soak, "soak", 10_000_000, "events over which memory is watched; 0 leaves that out")
	only := flag.String("only", "", "measure this system alone: naive, host or relay")
	flag.Parse()
	if flag.NArg() > 0 || s.rounds < 1 || s.window < 1 || s.length <= 0 || s.soak < 0 {
		flag.Usage()
		os.Exit(64)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, s, *only); err != nil {
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

// Command bench-reload measures what clients notice of a reload. A client in a
// process of its own opens a new TCP connection for each request at a fixed
// rate, whatever becomes of the earlier ones, keeps 200 connections alive and
// 50 busy with slow requests, while the server is reloaded every 500 ms. What
// is measured:
//
//	host    this project's daemon: plugins/http answers with a fixed text
//	nginx   Debian's, likewise
//	caddy   Debian's, likewise
//	events  (with -servers) the daemon again, but each request is an event that
//	        goes by a route to an action of another plugin process, whose outcome
//	        is the response
//
// Slow requests take their time in an action of host's, and in a backend behind
// the proxies of the others. Then it measures how long a reload takes that
// changes one of many instances, or server blocks.
//
// It prints tables and one line of JSON.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pluginhost/host/cmd/bench-reload/internal/client"
)

// options are what is to be measured.
type options struct {
	host, plugins string
	length        time.Duration
	every         time.Duration
	rates, sizes  []int
	cases         []string
	servers       []string
	rounds        int // reloads of each size
}

func main() {
	switch {
	case os.Getenv("HOST_PLUGIN") != "":
		servePlugin()
		return
	case len(os.Args) == 2 && roles[os.Args[1]] != nil:
		if err := roles[os.Args[1]](); err != nil {
			fmt.Fprintf(os.Stderr, "bench-reload %s: %v\n", os.Args[1], err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.host, "host", "bin/host", "the daemon's executable")
	flag.StringVar(&o.plugins, "plugins", "bin/plugins", "directory with the plugin http")
	flag.DurationVar(&o.length, "for", 20*time.Second, "length of one measurement")
	flag.DurationVar(&o.every, "every", 500*time.Millisecond, "time from one reload to the next")
	flag.IntVar(&o.rounds, "rounds", 5, "reloads measured for each size")
	rates := flag.String("rates", "500,2000,4000", "requests a second")
	sizes := flag.String("sizes", "10,100,1000,5000", "instances, of which one changes; empty for none")
	cases := flag.String("cases", "", "some of "+strings.Join(caseNames(), ",")+"; empty for all, none for none")
	servers := flag.String("servers", "host,nginx,caddy", "what to measure; events is host answering from another process")
	flag.Parse()
	err := o.read(*rates, *sizes, *cases, *servers)
	if err != nil || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "bench-reload:", err)
		flag.Usage()
		os.Exit(64)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-reload:", err)
		stop()
		os.Exit(1)
	}
}

// roles are the processes that the benchmark starts from its own executable.
var roles = map[string]func() error{"client": client.Run, "backend": backend}

func (o *options) read(rates, sizes, cases, servers string) error {
	var err error
	if o.rates, err = numbers(rates); err != nil {
		return err
	}
	if o.sizes, err = numbers(sizes); err != nil {
		return err
	}
	o.cases = caseNames()
	if cases == "none" {
		o.cases = nil
	} else if cases != "" {
		o.cases = strings.Split(cases, ",")
	}
	for _, c := range o.cases {
		if !slices.Contains(caseNames(), c) {
			return fmt.Errorf("there is no case %q: there are %s", c, strings.Join(caseNames(), ", "))
		}
	}
	o.servers = strings.Split(servers, ",")
	for _, s := range o.servers {
		if makers[s] == nil {
			return fmt.Errorf("there is no server %q: there are host, events, nginx and caddy", s)
		}
	}
	if o.length < time.Second || o.every < 10*time.Millisecond || o.rounds < 1 {
		return fmt.Errorf("-for is at least 1s, -every 10ms, -rounds 1")
	}
	return nil
}

func numbers(s string) ([]int, error) {
	var all []int
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 || n > 100_000 {
			return nil, fmt.Errorf("%q is not a number from 1 to 100000", f)
		}
		all = append(all, n)
	}
	return all, nil
}

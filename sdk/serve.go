package sdk

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/pluginhost/host/sdk/internal/inherit"
	"github.com/pluginhost/host/sdk/internal/pace"
	"github.com/pluginhost/host/sdk/wire"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// closeBound is how long instances have to end when host is gone.
const closeBound = 2 * time.Second

// Serve runs the plugin; it is the last call of main and does not return.
func Serve[C any](p Plugin[C]) {
	s, err := newProcess(p)
	if err != nil {
		fmt.Fprintf(os.Stderr, "plugin %s: %v\n", p.Name, err)
		os.Exit(1)
	}
	if os.Getenv(rpc.CookieKey) != rpc.CookieValue {
		fmt.Fprint(os.Stderr, s.introduction(filepath.Base(os.Args[0])))
		os.Exit(1)
	}
	if err := s.serve(); err != nil {
		fmt.Fprintf(os.Stderr, "plugin %s: %v\n", p.Name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve runs until host closes the lane.
func (s *process) serve() error {
	pace.Keep()
	// A terminal's Ctrl-C goes to everybody; host drains first, and says so.
	// Caught rather than ignored: a program that the plugin starts would inherit
	// the latter.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// The process was executed by a descriptor, whose number ps would show.
	_ = os.WriteFile("/proc/self/comm", []byte(s.manifest.Name), 0) // for people only
	// go-plugin takes the standard descriptors over: ours are duplicates.
	stdout, err := inherit.Duplicate(1, "stdout")
	if err != nil {
		return err
	}
	stderr, err := inherit.Duplicate(2, "stderr")
	if err != nil {
		return err
	}
	s.stdout = &inherit.Lines{W: stdout}
	s.log = hclog.New(&hclog.LoggerOptions{Name: s.manifest.Name, Level: hclog.Trace, Output: stderr, JSONFormat: true})
	lane, err := inherit.Socket(wire.LaneFD, "lane")
	if err != nil {
		return err
	}
	descriptors, err := inherit.Socket(wire.DescriptorFD, "descriptors")
	if err != nil {
		return err
	}
	s.connect(lane)
	go plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: rpc.Handshake(), Plugins: rpc.PluginSet(s), GRPCServer: rpc.GRPCServer,
		Logger: hclog.New(&hclog.LoggerOptions{Name: s.manifest.Name, Level: hclog.Warn, Output: stderr, JSONFormat: true}),
	})
	err = s.run(context.Background(), descriptors)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "plugin %s: %v\n", s.manifest.Name, err)
	}
	return err
}

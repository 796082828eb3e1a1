package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/sdk/internal/inherit"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// Conns are a plugin's ends of its connections with host, for ServeOver, which
// owns all of them but Log and Stdout.
type Conns struct {
	Control     net.Listener  // gRPC is served to whoever connects
	Lane        net.Conn      // events
	Descriptors *net.UnixConn // a SOCK_SEQPACKET socket; nil where no listener and no file comes
	Log         hclog.Logger
	Stdout      io.Writer // what Env.Stdout writes to
}

// ServeOver runs the plugin over connections that are there already; Serve does
// so over those that a process inherits, and package sdktest over pipes. It
// returns when the lane ends (nil), when ctx ends (its error) or when an
// instance fails, and everything that it started has ended then, but for
// handlers that do not heed their ctx.
func ServeOver[C any](ctx context.Context, p Plugin[C], c Conns) error {
	s, err := newProcess(p)
	if err != nil {
		return errors.Join(err, c.Control.Close(), c.Lane.Close())
	}
	s.log, s.stdout = c.Log, &inherit.Lines{W: c.Stdout}
	server := rpc.NewServer(s)
	var control sync.WaitGroup
	s.connect(c.Lane)
	control.Go(func() { _ = server.Serve(c.Control) }) // ends with Stop
	err = s.run(ctx, c.Descriptors)
	server.Stop()
	control.Wait()
	return err
}

// ManifestOf returns what host learns of a plugin, or what is wrong with it.
func ManifestOf[C any](p Plugin[C]) (*schema.Manifest, error) {
	s, err := newProcess(p)
	if err != nil {
		return nil, err
	}
	return &s.manifest, nil
}

// lent is how many bytes handlers may hold that were lent to them. More is
// copied.
const lent = 16 << 20

// connect makes the lane, which the control plane needs.
func (s *process) connect(lane net.Conn) {
	s.lane = wire.NewLane(lane)
	s.slab.Keep = s.lane.Keep
	if s.lends {
		s.lane.ReadInto(wire.NewPool(lent))
		s.slab.Borrow = s.lane.Borrow
	}
	s.ended = make(chan error, 1)
}

// run carries events until host closes the lane, ctx ends or an instance fails.
func (s *process) run(ctx context.Context, descriptors *net.UnixConn) error {
	var started sync.WaitGroup
	if descriptors != nil {
		started.Go(func() { s.leases.Receive(descriptors) })
	}
	started.Go(func() { s.exit(s.lane.Run(ctx, s.handler())) })
	err := <-s.ended
	s.close(closeBound)
	_ = s.lane.Close() // it writes what is queued within a second
	if descriptors != nil {
		_ = descriptors.Close()
	}
	started.Wait()
	s.leases.Drop()
	return err
}

// exit ends run with the first error given, or with nil.
func (s *process) exit(err error) {
	select {
	case s.ended <- err:
	default: // it is ending already
	}
}

// introduction is what a person sees who starts a plugin by hand.
func (s *process) introduction(program string) string {
	doc := ""
	if s.manifest.Doc != "" {
		doc = ": " + s.manifest.Doc
	}
	return fmt.Sprintf("%s is the plugin %s %s for host%s\nhost starts it: put it into the plugin directory, then see host plugins show %s.\n",
		program, s.manifest.Name, s.manifest.Version, doc, s.manifest.Name)
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/sdk/wire"
)

// The relay is the floor under any host with this contract: the same frames on
// the same kind of socket, three processes, and nothing done with an event but
// to pass it on. Its source has no goroutine an event either.

// relay runs the process in the middle.
func relay() error {
	source, stopSource, err := relayStart("relay-source")
	defer stopSource()
	if err != nil {
		return err
	}
	sink, stopSink, err := relayStart("relay-sink")
	defer stopSink()
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() {
		ended <- sink.Run(context.Background(), wire.Handler{
			Settle: func(s *wire.Settle) error { return source.Settle(s) },
			Batch:  flush(source),
		})
	}()
	go func() {
		var d wire.Deliver
		ended <- source.Run(context.Background(), wire.Handler{
			Emit: func(e *wire.Emit) error {
				d.Delivery, d.Attempt, d.Instance, d.Event = e.Promise, 1, 1, e.Event
				return sink.Deliver(&d)
			},
			Batch: flush(sink),
		})
	}()
	return <-ended // the source ends with its orders
}

// relayStart starts a child with a lane. The source inherits the standard
// descriptors: it takes the orders.
func relayStart(role string) (lane *wire.Lane, stop func(), err error) {
	stop = func() {}
	self, err := os.Executable()
	if err != nil {
		return nil, stop, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, stop, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "lane")
	defer func() { _ = theirs.Close() }()
	conn, err := laneOf(pair[0])
	if err != nil {
		return nil, stop, err
	}
	cmd := exec.CommandContext(context.Background(), self, role) // ended by stop
	cmd.Stderr = os.Stderr
	if role == "relay-source" {
		cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	}
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		return nil, stop, err
	}
	stop = func() {
		_ = conn.Close()
		_ = cmd.Wait() // it ends with its lane
	}
	lane = wire.NewLane(conn)
	lane.Hold()
	return lane, stop, nil
}

// flush writes what came of a frame when that is through.
func flush(l *wire.Lane) func() error {
	return func() error {
		l.Flush()
		return nil
	}
}

func laneOf(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "lane")
	defer func() { _ = f.Close() }()
	return net.FileConn(f)
}

// relaySink answers whatever comes.
func relaySink() error {
	conn, err := laneOf(wire.LaneFD)
	if err != nil {
		return err
	}
	lane := wire.NewLane(conn)
	lane.Hold()
	return lane.Run(context.Background(), wire.Handler{
		Batch: flush(lane),
		Deliver: func(d *wire.Deliver) error {
			return lane.Settle(&wire.Settle{Ref: d.Delivery, Attempt: d.Attempt, Value: answer})
		},
	})
}

// relaySource sends the next event when the promise of one is settled.
func relaySource() error {
	conn, err := laneOf(wire.LaneFD)
	if err != nil {
		return err
	}
	lane := wire.NewLane(conn)
	settled := make(chan uint64, 4096) // more than a window
	ended := make(chan error, 1)
	go func() {
		ended <- lane.Run(context.Background(), wire.Handler{
			Settle: func(s *wire.Settle) error {
				settled <- s.Ref
				return nil
			},
		})
	}()
	orders := json.NewDecoder(os.Stdin)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if o.Window > cap(settled) {
			return fmt.Errorf("a window of %d; at most %d", o.Window, cap(settled))
		}
		r, err := relayDrive(lane, settled, ended, o)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			return err
		}
	}
}

func relayDrive(lane *wire.Lane, settled <-chan uint64, ended <-chan error, o order) (outcome, error) {
	var (
		data   = payload(o.Size)
		times  []time.Duration
		number uint64
		events int
	)
	emit := func(now time.Time) error {
		number++
		e := wire.Emit{Promise: number, Instance: 1, Event: wire.Event{ID: wire.NewIDAt(now), Time: now.UnixNano(), Data: data}}
		return lane.Emit(&e)
	}
	start := time.Now()
	for range o.Window {
		if err := emit(start); err != nil {
			return outcome{}, err
		}
	}
	begin := start
	for flying := o.Window; flying > 0; {
		select {
		case <-settled:
		case err := <-ended:
			return outcome{}, fmt.Errorf("the lane ended: %w", err)
		}
		events++
		now := time.Now()
		if o.Window == 1 {
			times = append(times, now.Sub(begin))
			begin = now
		}
		if o.Events == 0 && now.Sub(start) >= o.For || o.Events > 0 && events > o.Events-o.Window {
			flying--
			continue
		}
		if err := emit(now); err != nil {
			return outcome{}, err
		}
	}
	return outcome{Events: events, Elapsed: time.Since(start), P50: p50(times)}, nil
}

package wire

import (
	"context"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// pair returns two connected ends of a stream socketpair.
func socketpair(tb testing.TB) (a, b net.Conn) {
	tb.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		tb.Fatal(err)
	}
	conns := make([]net.Conn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "lane")
		if conns[i], err = net.FileConn(f); err != nil {
			tb.Fatal(err)
		}
		_ = f.Close()
	}
	return conns[0], conns[1]
}

// BenchmarkRelay sends events from one lane over a relay to another and the
// promise back, 1,024 in flight: two hops, acknowledged, 256 bytes each.
func BenchmarkRelay(b *testing.B) {
	a1, a2 := socketpair(b)
	b1, b2 := socketpair(b)
	emitter, hostA := NewLane(a1), NewLane(a2)
	hostB, consumer := NewLane(b1), NewLane(b2)
	ctx, cancel := context.WithCancel(b.Context())
	run := func(l *Lane, h Handler) chan error {
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx, h) }()
		return done
	}
	window := make(chan struct{}, 1024)
	settled, n := make(chan struct{}), 0
	ends := []chan error{
		run(emitter, Handler{
			Accept: func(uint64) error { return nil },
			Settle: func(*Settle) error {
				<-window
				if n++; n == b.N {
					close(settled)
				}
				return nil
			},
		}),
		run(hostA, Handler{Emit: func(e *Emit) error {
			if err := hostA.Accept(e.Promise); err != nil {
				return err
			}
			return hostB.Deliver(&Deliver{Delivery: e.Promise, Attempt: 1, Instance: 1, Event: e.Event})
		}}),
		run(hostB, Handler{
			Settle: func(s *Settle) error { return hostA.Settle(s) },
			Credit: func(uint32, uint32) error { return nil },
		}),
		run(consumer, Handler{Deliver: func(d *Deliver) error {
			if err := consumer.Settle(&Settle{Ref: d.Delivery, Attempt: d.Attempt}); err != nil {
				return err
			}
			return consumer.Credit(1, 1)
		}}),
	}
	e := Emit{Instance: 1, Event: Event{ID: NewID(), Time: 1, Data: make([]byte, 256)}}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		window <- struct{}{}
		e.Promise = uint64(i + 1)
		if err := emitter.Emit(&e); err != nil {
			b.Fatal(err)
		}
	}
	<-settled
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	cancel()
	for _, end := range ends {
		<-end
	}
}

package lease

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/sdk/wire/descriptor"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// pair is a connected pair of sockets as descriptor 4 of a plugin is one.
func pair(t *testing.T) (host, plugin *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for n, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[n] = c.(*net.UnixConn)
		t.Cleanup(func() { _ = c.Close() })
	}
	return ends[0], ends[1]
}

// Instances that share a lease are prepared at once: the descriptors of all may
// come before the first is taken, and each gets one.
func TestSharedLease(t *testing.T) {
	host, plugin := pair(t)
	s := NewStore()
	received := make(chan struct{})
	go func() { defer close(received); s.Receive(plugin) }()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	const instances = 5
	for range instances + 1 { // one is for an instance that was given up
		if err := descriptor.Send(host, "lease-1", dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := descriptor.Send(host, "lease-2", dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.Take(ctx, []rpc.Lease{{ID: "lease-2", Attribute: "dir"}}); err != nil { // all before it have come
		t.Fatal(err)
	}
	want, err := dir.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range instances {
		all.Go(func() {
			got, err := s.Take(ctx, []rpc.Lease{{ID: "lease-1", Attribute: "dir"}})
			if err != nil {
				t.Error(err)
				return
			}
			if st, err := got["dir"].Stat(); err != nil || !os.SameFile(st, want) {
				t.Errorf("another file, %v", err)
			}
			if err := got["dir"].Close(); err != nil { // it is its own
				t.Error(err)
			}
		})
	}
	all.Wait()
	_ = host.Close()
	<-received
	s.Drop()
	if _, err := s.Take(ctx, []rpc.Lease{{ID: "lease-1", Attribute: "dir"}}); err == nil {
		t.Error("there is one left after the drop")
	}
}

// What nobody takes has a bound.
func TestWaitingIsBounded(t *testing.T) {
	host, plugin := pair(t)
	s := NewStore()
	received := make(chan struct{})
	go func() { defer close(received); s.Receive(plugin) }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	for n := range maxWaiting + 10 {
		if err := descriptor.Send(host, "lease-1", null); err != nil {
			t.Fatal(fmt.Errorf("descriptor %d: %w", n, err))
		}
	}
	_ = host.Close()
	<-received
	if n := len(s.files["lease-1"]); n != maxWaiting {
		t.Errorf("%d wait", n)
	}
	s.Drop()
}

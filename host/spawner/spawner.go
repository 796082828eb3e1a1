// Package spawner is the privileged side of the daemon and its client: it
// starts processes, binds sockets, opens files and keeps their descriptors. It
// reads no HCL and no event, and answers a closed set of requests, each checked
// against a Policy. For now it runs as a goroutine behind the same socketpair
// that a process of its own will have; host/launch and host/resource call it.
package spawner

import (
	"context"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Policy is what the spawner allows, whatever it is asked for.
type Policy struct {
	MaxProcesses int // at once
	MaxLeases    int // at once
}

// DefaultPolicy bounds counts only.
func DefaultPolicy() Policy { return Policy{MaxProcesses: 1024, MaxLeases: 16384} }

// Pair returns a client and the function that serves it until ctx ends or the
// client is closed. serve returns when every process that it started has ended
// and every lease is closed.
func Pair() (c *Client, serve func(ctx context.Context) error, err error) {
	ours, theirs, err := socketpair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, nil, err
	}
	a, err := unixConn(ours)
	if err != nil {
		_ = unix.Close(theirs)
		return nil, nil, err
	}
	b, err := unixConn(theirs)
	if err != nil {
		_ = a.Close()
		return nil, nil, err
	}
	return Connect(a), func(ctx context.Context) error { return Serve(ctx, b, DefaultPolicy()) }, nil
}

func socketpair(kind int) (a, b int, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	return p[0], p[1], nil
}

// unixConn takes over a descriptor.
func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "socketpair")
	defer func() { _ = f.Close() }() // FileConn has its own
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

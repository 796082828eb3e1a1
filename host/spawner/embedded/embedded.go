// Package embedded is both ends of the spawner in one process, for a daemon that is
// embedded in another program: host/spawner/server in a goroutine, and
// host/spawner/client over the same socketpair as under host run. Package host
// is its caller.
package embedded

import (
	"context"
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/client"
	"github.com/pluginhost/host/host/spawner/server"
)

// New returns a client and the function that serves it until ctx ends or the
// client is closed. serve returns when every process that it started has ended
// and every lease is closed.
func New(o server.Options) (c *client.Client, serve func(ctx context.Context) error, err error) {
	s, err := server.New(o)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs, err := spawner.Socketpair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	var a, b *net.UnixConn
	if a, err = spawner.Conn(ours); err != nil {
		return nil, nil, errors.Join(err, unix.Close(theirs), s.Close())
	}
	if b, err = spawner.Conn(theirs); err != nil {
		return nil, nil, errors.Join(err, a.Close(), s.Close())
	}
	return client.Connect(a), func(ctx context.Context) error {
		return errors.Join(s.Serve(ctx, b), s.Close())
	}, nil
}

// Package spawner is the privileged side of the daemon and its client: it
// starts processes, binds sockets, opens files and keeps their descriptors. It
// reads no HCL and no event. For now it runs as a goroutine behind the same
// socketpair that a process of its own will have.
package spawner

import (
	"context"
	"net"
)

// Client asks a spawner.
type Client struct{}

// Pair starts nothing: it returns a client and the function that serves it
// until ctx ends or the client is closed. serve returns when every process
// that it started has ended and every lease is closed.
func Pair() (c *Client, serve func(ctx context.Context) error, err error) { panic("unfinished") }

// Connect returns a client over one end of a socketpair.
func Connect(conn *net.UnixConn) *Client { panic("unfinished") }

// Close ends the client; pending calls fail.
func (c *Client) Close() error { panic("unfinished") }

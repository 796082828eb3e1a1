package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// firstGrace is how long a connection that has sent nothing yet may take
	// to send its request once the drain has begun.
	firstGrace = 2 * time.Second
	// idleGrace is how long a keep-alive connection may take to send one more
	// request, whose answer tells it to connect anew. Closing it at once would
	// race with a request on its way.
	idleGrace = 1 * time.Second
	drainPoll = 10 * time.Millisecond
)

// conns is a listener that bounds its connections and knows what each of them
// is doing, so that a drain can tell when all have their answer.
type conns struct {
	net.Listener
	room chan struct{}
	stop chan struct{} // closed when the drain begins

	mu    sync.Mutex
	begun bool
	open  map[net.Conn]*conn
}

type conn struct {
	state http.ConnState
	since time.Time
}

func newConns(l net.Listener, limit int) *conns {
	return &conns{Listener: l, room: make(chan struct{}, limit), stop: make(chan struct{}), open: map[net.Conn]*conn{}}
}

// Accept implements net.Listener. A connection is counted before the server
// knows of it: none can slip between an accept and a drain.
func (c *conns) Accept() (net.Conn, error) {
	select {
	case c.room <- struct{}{}:
	case <-c.stop:
		return nil, net.ErrClosed
	}
	n, err := c.Listener.Accept()
	if err != nil {
		<-c.room
		return nil, err
	}
	n = &watched{Conn: n, of: c}
	c.mu.Lock()
	c.open[n] = &conn{state: http.StateNew, since: time.Now()}
	c.mu.Unlock()
	return n, nil
}

// watched is a connection that is active from its first byte on. The server
// says so only when it has read a whole request, which on a busy machine is long
// after the bytes have left the socket.
type watched struct {
	net.Conn
	of *conns
}

// Read implements net.Conn.
func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.of.state(w, http.StateActive)
	}
	return n, err
}

// state is the server's ConnState.
func (c *conns) state(n net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.open[n]
	if k == nil {
		return
	}
	if s == http.StateClosed || s == http.StateHijacked {
		delete(c.open, n)
		<-c.room
		return
	}
	k.state, k.since = s, time.Now()
}

func (c *conns) draining() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// drain stops accepting on this descriptor and waits until every connection
// has had its answer, was told to close, or has sent nothing for its grace. ran
// is closed when the server's accept loop has ended.
func (c *conns) drain(ctx context.Context, ran <-chan struct{}) {
	c.mu.Lock()
	if !c.begun {
		c.begun = true
		close(c.stop)
	}
	c.mu.Unlock()
	// Closing our descriptor ends Accept here; the socket itself, and the
	// connections waiting in its queue, belong to whoever else holds it.
	_ = c.Close()
	select {
	case <-ran: // all that was accepted is in open now
	case <-ctx.Done():
		return
	}
	begin := time.Now()
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for c.busy(begin) || c.leave() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// leave closes the connections that had their grace and sent nothing: Shutdown
// would wait for the new ones among them. It reports whether one has sent
// something after all, which Shutdown would not answer.
func (c *conns) leave() (left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, k := range c.open {
		if k.state != http.StateNew && k.state != http.StateIdle {
			continue
		}
		if arrived(n) {
			left = true
		} else {
			_ = n.Close()
		}
	}
	return left
}

// arrived reports whether a connection has something to read that the server
// has not seen yet: on a busy machine that takes a while.
func arrived(n net.Conn) bool {
	w, _ := n.(*watched)
	x, ok := w.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := x.SyscallConn()
	if err != nil {
		return false
	}
	waiting := 0
	_ = raw.Control(func(fd uintptr) { // of a closed connection nothing is wanted
		waiting, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) // bytes in the socket
	})
	return waiting > 0
}

// busy reports whether a connection may still get a request or an answer.
func (c *conns) busy(begin time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, k := range c.open {
		since := k.since
		if since.Before(begin) {
			since = begin
		}
		switch k.state {
		case http.StateNew:
			if time.Since(since) < firstGrace || arrived(n) {
				return true
			}
		case http.StateActive:
			return true
		case http.StateIdle:
			if time.Since(since) < idleGrace || arrived(n) {
				return true
			}
		}
	}
	return false
}

package typed

import (
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// goKeepAlive is what Go sets on every connection that it accepts.
const goKeepAlive = 15 * time.Second

// connections is a TCP listener whose connections keep what host has set on the
// socket: Go's own Accept sets its own keepalive. It asks the socket each time,
// since host may change it while it serves.
type connections struct{ *net.TCPListener }

// Accept implements net.Listener.
func (l *connections) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	on, idle := l.keepAlive()
	switch {
	case !on:
		_ = c.SetKeepAlive(false) // a connection that is gone says so on its first use
	case idle != goKeepAlive:
		_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: idle, Interval: idle, Count: -1}) // likewise
	}
	return c, nil
}

func (l *connections) keepAlive() (on bool, idle time.Duration) {
	on, idle = true, goKeepAlive
	raw, err := l.SyscallConn()
	if err != nil {
		return on, idle
	}
	_ = raw.Control(func(fd uintptr) { // a closed listener has no wish
		v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		seconds, serr := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		if err == nil && serr == nil {
			on, idle = v != 0, time.Duration(seconds)*time.Second
		}
	})
	return on, idle
}

// packets is a datagram socket that can be told to stop reading while others
// go on with the same socket. A reader then waits, as if nothing came any more,
// until the socket is closed.
type packets struct {
	net.PacketConn
	paused chan struct{} // closed by pause
	closed chan struct{}

	reading sync.RWMutex // held for reading around each read
	once    sync.Once
	end     sync.Once

	mu       sync.Mutex
	deadline time.Time // the reader's own
}

func newPackets(c net.PacketConn) *packets {
	return &packets{PacketConn: c, paused: make(chan struct{}), closed: make(chan struct{})}
}

// ReadFrom implements net.PacketConn.
func (p *packets) ReadFrom(b []byte) (int, net.Addr, error) {
	p.reading.RLock()
	select {
	case <-p.paused:
	default:
		n, from, err := p.PacketConn.ReadFrom(b)
		select {
		case <-p.paused:
			if err == nil { // it came before the deadline of pause: it is ours
				p.reading.RUnlock()
				return n, from, nil
			}
		default:
			p.reading.RUnlock()
			return n, from, err
		}
	}
	p.reading.RUnlock()
	p.mu.Lock()
	deadline := p.deadline
	p.mu.Unlock()
	var timeout <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-p.closed:
		return 0, nil, net.ErrClosed
	case <-timeout:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

// pause returns when no read is under way and none will be.
func (p *packets) pause() {
	p.once.Do(func() {
		p.mu.Lock()
		close(p.paused)
		_ = p.PacketConn.SetReadDeadline(time.Unix(1, 0)) // a closed socket is not read either
		p.mu.Unlock()
	})
	p.reading.Lock()
	p.reading.Unlock() //nolint:staticcheck // it waits for the reads that have begun
}

// SetReadDeadline implements net.PacketConn.
func (p *packets) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	select {
	case <-p.paused:
		return nil
	default:
		return p.PacketConn.SetReadDeadline(t)
	}
}

// SetDeadline implements net.PacketConn.
func (p *packets) SetDeadline(t time.Time) error {
	if err := p.SetWriteDeadline(t); err != nil {
		return err
	}
	return p.SetReadDeadline(t)
}

// Close implements net.PacketConn.
func (p *packets) Close() error {
	p.end.Do(func() { close(p.closed) })
	return p.PacketConn.Close()
}

// Pause stops reading from the datagram sockets of some attributes.
func (d *Values) Pause(attributes []string) {
	for _, a := range attributes {
		if p := d.reads[a]; p != nil {
			p.pause()
		}
	}
}

// Package client asks the privileged side of the daemon (host/spawner/server)
// and hands out what it answers. It runs without rights, in the manager, and no
// part of it is linked into the spawner. host/launch and host/resource are its
// callers.
package client

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/message"
)

// ErrClosed says that the spawner cannot be asked any more.
var ErrClosed = errors.New("the spawner is gone")

// Client asks a spawner. Its methods may be called from any goroutine.
type Client struct {
	conn *net.UnixConn
	done chan struct{} // closed when the reader has returned

	sending sync.Mutex

	mu        sync.Mutex
	last      uint64
	calls     map[uint64]chan<- answer
	processes map[uint64]*Process
	exits     map[uint64]spawner.Exit // of processes whose start has not been read yet
	closed    bool
}

// answer is a reply with its descriptors.
type answer struct {
	spawner.Reply
	fds []int
}

// Process is one that the spawner started.
type Process struct {
	Pid    int
	Stdout *os.File // what it prints
	Stderr *os.File
	Lane   net.Conn
	// Missing is what of the asked limits and of the sandbox this machine does
	// not keep, each "name: why". The names are memory, cpu, processes,
	// landlock, seccomp and sandbox.
	Missing []string

	c       *Client
	number  uint64
	limits  spawner.Start // what was asked for
	bounded bool          // RLIMIT_DATA is what bounds its memory
	done    chan struct{}
	exit    spawner.Exit
}

// Connect returns a client over one end of a socketpair, which it owns. Its
// reader runs until Close, which waits for it.
func Connect(conn *net.UnixConn) *Client {
	c := &Client{conn: conn, done: make(chan struct{}), calls: map[uint64]chan<- answer{},
		processes: map[uint64]*Process{}, exits: map[uint64]spawner.Exit{}}
	go c.read()
	return c
}

// Close ends the client; pending calls fail, and the spawner ends all it has
// started. Safe to call twice.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.done
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (c *Client) read() {
	defer close(c.done)
	buf := make([]byte, message.Max)
	for {
		var a answer
		fds, err := spawner.Receive(c.conn, buf, a.Fields)
		if err != nil {
			spawner.CloseAll(fds)
			break
		}
		a.fds = fds
		c.mu.Lock()
		if a.ID == 0 {
			if p := c.processes[a.Process]; p != nil {
				delete(c.processes, a.Process)
				p.exit = a.Exit
				close(p.done)
			} else {
				c.exits[a.Process] = a.Exit
			}
		} else if call := c.calls[a.ID]; call != nil {
			delete(c.calls, a.ID)
			call <- a // there is room for the one answer
		} else {
			spawner.CloseAll(fds)
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for id, call := range c.calls {
		delete(c.calls, id)
		close(call)
	}
	for number, p := range c.processes {
		delete(c.processes, number)
		p.exit = spawner.Exit{Code: -1, Signal: int64(unix.SIGKILL)} // the spawner ends what it started
		close(p.done)
	}
}

// call sends a request and waits for its answer. When ctx ends first, what the
// answer brings is given back by undo.
func (c *Client) call(ctx context.Context, r spawner.Request, undo func(answer), fds ...int) (answer, error) {
	got := make(chan answer, 1)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return answer{}, ErrClosed
	}
	c.last++
	r.ID = c.last
	c.calls[r.ID] = got
	c.mu.Unlock()

	c.sending.Lock()
	err := spawner.Send(c.conn, r.Fields, fds...)
	c.sending.Unlock()
	if err != nil {
		c.mu.Lock()
		delete(c.calls, r.ID)
		c.mu.Unlock()
		var e *spawner.Error
		if errors.As(err, &e) {
			return answer{}, e
		}
		return answer{}, ErrClosed
	}
	take := func(a answer, ok bool) (answer, error) {
		if !ok {
			return answer{}, ErrClosed
		}
		if a.Kind != "" {
			spawner.CloseAll(a.fds)
			return answer{}, &spawner.Error{Kind: a.Kind, Message: a.Message}
		}
		return a, nil
	}
	select {
	case a, ok := <-got:
		return take(a, ok)
	case <-ctx.Done():
		go func() { // ends with the answer, or with the connection
			a, ok := <-got
			if a, err := take(a, ok); err == nil && undo != nil {
				undo(a)
			}
		}()
		return answer{}, context.Cause(ctx)
	}
}

// Hello says which directories the daemon uses; it comes before all else. It
// returns who processes run as that name no user, and what this machine cannot
// do of what is promised without asking.
func (c *Client) Hello(ctx context.Context, h spawner.Hello) (user string, lacks []string, err error) {
	a, err := c.call(ctx, spawner.Request{Asks: spawner.AsksHello, Hello: h}, nil)
	return a.Address, a.Texts, err
}

// Holder names the process that has one of some sockets open, given by their
// inodes, as far as the spawner may know: "nginx (pid 123)", or "".
func (c *Client) Holder(ctx context.Context, inodes []string) string {
	a, err := c.call(ctx, spawner.Request{Asks: spawner.AsksHolder, Inodes: inodes}, nil)
	if err != nil {
		return ""
	}
	return a.Address
}

// Sweep closes the sockets of a former manager that were not asked for again.
func (c *Client) Sweep(ctx context.Context) error {
	_, err := c.call(ctx, spawner.Request{Asks: spawner.AsksSweep}, nil)
	return err
}

// Dir makes a private directory for a process of a user, for Start.
func (c *Client) Dir(ctx context.Context, user string) (string, error) {
	a, err := c.call(ctx, spawner.Request{Asks: spawner.AsksDir, User: user}, nil)
	return a.Address, err
}

// Bind asks for a socket. The lease names it; address is what was really bound.
func (c *Client) Bind(ctx context.Context, b spawner.Bind) (lease, address string, err error) {
	a, err := c.call(ctx, spawner.Request{Asks: spawner.AsksBind, Bind: b}, c.giveUp)
	return a.Lease, a.Address, err
}

// Set puts settings in force on the live socket of a lease. From the first Set
// on the socket listens, or gets datagrams.
func (c *Client) Set(ctx context.Context, lease string, s spawner.Settings) error {
	_, err := c.call(ctx, spawner.Request{Asks: spawner.AsksSet, Lease: lease, Set: s}, nil)
	return err
}

// Retire lets nothing new reach the socket of a lease, and reports whether
// something waits in its queue: those who hold the socket can still take that.
// It may be asked again. The path of a unix socket is gone afterwards.
func (c *Client) Retire(ctx context.Context, lease string) (waiting bool, err error) {
	a, err := c.call(ctx, spawner.Request{Asks: spawner.AsksRetire, Lease: lease}, nil)
	return a.Waiting, err
}

// Gone is closed when the spawner cannot be asked any more.
func (c *Client) Gone() <-chan struct{} { return c.done }

// Open asks for a file.
func (c *Client) Open(ctx context.Context, o spawner.Open) (lease string, err error) {
	a, err := c.call(ctx, spawner.Request{Asks: spawner.AsksOpen, Open: o}, c.giveUp)
	return a.Lease, err
}

func (c *Client) giveUp(a answer) { _ = c.Release(context.Background(), a.Lease) }

// Release closes a lease. Processes that were given its descriptor keep theirs.
func (c *Client) Release(ctx context.Context, lease string) error {
	_, err := c.call(ctx, spawner.Request{Asks: spawner.AsksClose, Lease: lease}, nil)
	return err
}

// Start starts a process from the descriptor of its executable, which stays the
// caller's.
func (c *Client) Start(ctx context.Context, s spawner.Start, exe *os.File) (*Process, error) {
	raw, err := exe.SyscallConn()
	if err != nil {
		return nil, err
	}
	var a answer
	if cerr := raw.Control(func(fd uintptr) {
		a, err = c.call(ctx, spawner.Request{Asks: spawner.AsksStart, Start: s}, c.discard, int(fd))
	}); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, err
	}
	return c.adopt(a, s)
}

// discard ends a process that nobody waits for any more.
func (c *Client) discard(a answer) {
	if p, err := c.adopt(a, spawner.Start{}); err == nil {
		_ = p.Signal(context.Background(), unix.SIGKILL)
		<-p.Done()
		p.Close()
	}
}

// adopt makes a Process of the answer to a start.
func (c *Client) adopt(a answer, s spawner.Start) (*Process, error) {
	if len(a.fds) != 3 {
		spawner.CloseAll(a.fds)
		return nil, &spawner.Error{Kind: spawner.Failed, Message: "the spawner sent no descriptors"}
	}
	for _, fd := range a.fds[:2] {
		_ = unix.SetNonblock(fd, true) // so that a read ends with Close
	}
	lane, err := spawner.Conn(a.fds[2])
	p := &Process{Pid: int(a.Pid), Missing: missing(a.Texts), c: c, number: a.Process, limits: s, bounded: bounded(a.Texts), done: make(chan struct{}),
		Stdout: os.NewFile(uintptr(a.fds[0]), "stdout"), Stderr: os.NewFile(uintptr(a.fds[1]), "stderr"), Lane: lane}
	c.mu.Lock()
	defer c.mu.Unlock()
	exit, ended := c.exits[a.Process]
	switch {
	case ended:
		delete(c.exits, a.Process)
		p.exit = exit
		close(p.done)
	case c.closed:
		p.exit = spawner.Exit{Code: -1, Signal: int64(unix.SIGKILL)}
		close(p.done)
	default:
		c.processes[a.Process] = p
	}
	return p, err
}

// Done is closed when the process has ended and is reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit says how it ended; valid after Done.
func (p *Process) Exit() spawner.Exit { return p.exit }

// Give passes the descriptor of a lease to the process.
func (p *Process) Give(ctx context.Context, lease string) error {
	_, err := p.c.call(ctx, spawner.Request{Asks: spawner.AsksGive, Number: p.number, Lease: lease}, nil)
	return err
}

// Signal signals the process and all in its group.
func (p *Process) Signal(ctx context.Context, sig unix.Signal) error {
	_, err := p.c.call(ctx, spawner.Request{Asks: spawner.AsksSignal, Number: p.number, Signal: int64(sig)}, nil)
	return err
}

// Close closes host's ends of the process's pipes and lane.
func (p *Process) Close() {
	_ = p.Stdout.Close()
	_ = p.Stderr.Close()
	if p.Lane != nil {
		_ = p.Lane.Close()
	}
}

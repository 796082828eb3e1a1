package spawner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// endGrace is how long processes have after SIGTERM when the client is gone.
const endGrace = 2 * time.Second

// server is the state of one Serve.
type server struct {
	conn   *net.UnixConn
	policy Policy
	forks  chan func() // run on the one thread that forks

	sending sync.Mutex // one message at a time
	waits   sync.WaitGroup

	mu        sync.Mutex
	last      uint64 // number given to a lease or process
	leases    map[string]*lease
	processes map[uint64]*process
}

// Serve answers requests on conn until ctx ends or the other end is closed.
// Then it ends every process, closes every lease and returns.
func Serve(ctx context.Context, conn *net.UnixConn, policy Policy) error {
	s := &server{conn: conn, policy: policy, forks: make(chan func()),
		leases: map[string]*lease{}, processes: map[uint64]*process{}}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	forked := make(chan struct{})
	go func() { defer close(forked); forkThread(s.forks) }()

	err := s.requests()
	_ = conn.Close()
	s.endAll()
	s.waits.Wait()
	close(s.forks)
	<-forked
	for _, l := range s.leases {
		l.close()
	}
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// requests reads until the connection ends. Requests are short, and answered
// in order.
func (s *server) requests() error {
	buf := make([]byte, maxMessage)
	for {
		var r request
		fds, err := receive(s.conn, buf, &r)
		var broken *Error
		if err != nil && !errors.As(err, &broken) {
			closeAll(fds)
			return err
		}
		a := reply{ID: r.ID}
		var out []int
		if err == nil {
			out, err = s.answer(&r, &a, fds)
		}
		closeAll(fds)
		if err != nil {
			a.Error = refusal(err)
		}
		err = s.send(a, out...)
		closeAll(out)
		if err != nil {
			return err
		}
	}
}

func (s *server) send(a reply, fds ...int) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return send(s.conn, a, fds...)
}

// answer does what r asks for. It returns descriptors to send, which it gives
// away.
func (s *server) answer(r *request, a *reply, fds []int) (out []int, err error) {
	switch {
	case r.Bind != nil:
		var over []*lease
		for _, name := range r.Bind.Over {
			if l, err := s.find(name); err == nil { // else it is closed, and in nobody's way
				over = append(over, l)
			}
		}
		l, address, err := bind(r.Bind, over)
		if err != nil {
			return nil, err
		}
		a.Address = address
		a.Lease, err = s.keep(l)
		return nil, err
	case r.Set != nil:
		l, err := s.find(r.Set.Lease)
		if err != nil {
			return nil, err
		}
		return nil, l.set(r.Set.Settings)
	case r.Retire != nil:
		l, err := s.find(*r.Retire)
		if err != nil {
			return nil, err
		}
		a.Waiting = l.retire()
		return nil, nil
	case r.Open != nil:
		l, err := open(r.Open)
		if err != nil {
			return nil, err
		}
		a.Address = r.Open.Path
		a.Lease, err = s.keep(l)
		return nil, err
	case r.Close != nil:
		s.mu.Lock()
		l := s.leases[*r.Close]
		delete(s.leases, *r.Close)
		s.mu.Unlock()
		if l == nil {
			return nil, &Error{Kind: Missing, Message: "no lease " + *r.Close}
		}
		l.close()
		return nil, nil
	case r.Start != nil:
		if len(fds) != 1 {
			return nil, &Error{Kind: Invalid, Message: "start needs the descriptor of one executable"}
		}
		return s.start(r.Start, fds[0], a)
	case r.Give != nil:
		s.mu.Lock()
		defer s.mu.Unlock()
		p, l := s.processes[r.Give.Process], s.leases[r.Give.Lease]
		if p == nil || l == nil {
			return nil, &Error{Kind: Missing, Message: fmt.Sprintf("no process %d or no lease %s", r.Give.Process, r.Give.Lease)}
		}
		return nil, p.give(r.Give.Lease, l.fd)
	case r.Signal != nil:
		s.mu.Lock()
		p := s.processes[r.Signal.Process]
		s.mu.Unlock()
		if p == nil {
			return nil, &Error{Kind: Missing, Message: "the process has ended"}
		}
		return nil, p.signal(unix.Signal(r.Signal.Signal))
	}
	return nil, &Error{Kind: Invalid, Message: "a request without anything asked for"}
}

// find returns a lease by its name. Leases are touched by the goroutine that
// answers requests only.
func (s *server) find(name string) (*lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leases[name]; l != nil {
		return l, nil
	}
	return nil, &Error{Kind: Missing, Message: "no lease " + name}
}

// keep stores a lease under a name of its own.
func (s *server) keep(l *lease) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.leases) >= s.policy.MaxLeases {
		l.close()
		return "", &Error{Kind: Limit, Message: fmt.Sprintf("%d sockets and files are open already, which is the limit", s.policy.MaxLeases)}
	}
	s.last++
	name := fmt.Sprintf("lease-%d", s.last)
	s.leases[name] = l
	return name, nil
}

// endAll ends every process: it asks, waits a little, then insists.
func (s *server) endAll() {
	for _, p := range s.running() {
		_ = p.signal(unix.SIGTERM)
	}
	deadline := time.After(endGrace)
	for len(s.running()) > 0 {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			for _, p := range s.running() {
				_ = p.signal(unix.SIGKILL)
			}
			return
		}
	}
}

func (s *server) running() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*process
	for _, p := range s.processes {
		all = append(all, p)
	}
	return all
}

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/holder"
	"github.com/pluginhost/host/host/spawner/lease"
	"github.com/pluginhost/host/host/spawner/message"
)

// endGrace is how long processes have after SIGTERM when the manager is gone:
// longer than a plugin takes that finishes what it has accepted.
const endGrace = 4 * time.Second

// session is one manager's connection and what it started.
type session struct {
	*Spawner
	conn *net.UnixConn

	sending sync.Mutex // one message at a time
	waits   sync.WaitGroup

	// Spawner.mu guards these.
	processes map[uint64]*process
	dirs      map[string]*User // private directories that wait for their process
	ending    bool
}

// Serve answers the requests of one manager on conn until ctx ends or the other
// end is closed. Then it ends every process that was started for it and returns.
// Sockets stay open for the next manager; files are closed.
func (s *Spawner) Serve(ctx context.Context, conn *net.UnixConn) error {
	v := &session{Spawner: s, conn: conn, processes: map[uint64]*process{}, dirs: map[string]*User{}}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	err := v.requests()
	_ = conn.Close()
	v.endAll()
	v.waits.Wait()
	s.mu.Lock()
	for name, l := range s.leases {
		if !l.IsSocket() || l.Retired() {
			s.end(l)
			delete(s.leases, name)
		}
		l.left = true
	}
	dirs := v.dirs
	v.dirs = nil
	s.mu.Unlock()
	for dir := range dirs {
		removeDir(dir)
	}
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return nil
	}
	return err
}

// requests reads until the connection ends. Requests are short and answered in
// order, but for the start of a process, which takes as long as that.
func (s *session) requests() error {
	buf := make([]byte, message.Max)
	for {
		var r spawner.Request
		fds, err := spawner.Receive(s.conn, buf, r.Fields)
		var broken *spawner.Error
		if err != nil && !errors.As(err, &broken) {
			spawner.CloseAll(fds)
			return err
		}
		if err == nil && r.Asks == spawner.AsksStart {
			s.waits.Go(func() {
				a := spawner.Reply{ID: r.ID}
				out, err := s.start(&r.Start, fds, &a)
				spawner.CloseAll(fds)
				_ = s.answered(&a, out, err) // a manager that is gone has no need
			})
			continue
		}
		a := spawner.Reply{ID: r.ID}
		if err == nil {
			err = s.answer(&r, &a)
		}
		spawner.CloseAll(fds)
		if err := s.answered(&a, nil, err); err != nil {
			return err
		}
	}
}

// answered sends an answer with the descriptors in out, which it closes.
func (s *session) answered(a *spawner.Reply, out []int, err error) error {
	if err != nil {
		e := spawner.ErrorOf(err)
		a.Kind, a.Message = e.Kind, cut(e.Message)
	}
	err = s.send(a, out...)
	spawner.CloseAll(out)
	return err
}

// cut bounds a message for people.
func cut(s string) string {
	const most = 4096
	if len(s) > most {
		return s[:most]
	}
	return s
}

func (s *session) send(a *spawner.Reply, fds ...int) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return spawner.Send(s.conn, a.Fields, fds...)
}

// answer does what r asks for.
func (s *session) answer(r *spawner.Request, a *spawner.Reply) (err error) {
	switch r.Asks {
	case spawner.AsksHello:
		a.Address = s.user.Name
		a.Texts = s.lacks
		return s.hello(&r.Hello)
	case spawner.AsksBind:
		return s.bind(&r.Bind, a)
	case spawner.AsksOpen:
		rights := s.policy.Load().File(r.Open.Path, r.Open.Access)
		l := &held{rights: rights}
		err = s.with(rights, func() (err error) {
			l.Lease, err = lease.Open(&r.Open, rights && s.root)
			return err
		})
		if err != nil {
			return err
		}
		a.Address = r.Open.Path
		a.Lease, err = s.keep(l)
		return err
	case spawner.AsksClose:
		s.mu.Lock()
		l := s.leases[r.Lease]
		delete(s.leases, r.Lease)
		s.mu.Unlock()
		if l == nil {
			return &spawner.Error{Kind: spawner.Missing, Message: "no lease " + r.Lease}
		}
		s.end(l)
		return nil
	case spawner.AsksSet:
		l, err := s.find(r.Lease)
		if err != nil {
			return err
		}
		// The path of a unix socket may lead elsewhere by now.
		return s.with(l.rights, func() error { return l.Set(r.Set) })
	case spawner.AsksRetire:
		l, err := s.find(r.Lease)
		if err != nil {
			return err
		}
		return s.with(l.rights, func() error {
			a.Waiting = l.Retire()
			return nil
		})
	case spawner.AsksDir:
		a.Address, err = s.dir(r.User)
		return err
	case spawner.AsksGive:
		s.mu.Lock()
		defer s.mu.Unlock()
		p, l := s.processes[r.Number], s.leases[r.Lease]
		if p == nil || l == nil || l.left {
			return &spawner.Error{Kind: spawner.Missing, Message: fmt.Sprintf("no process %d or no lease %s", r.Number, r.Lease)}
		}
		return p.give(r.Lease, l.FD())
	case spawner.AsksSignal:
		s.mu.Lock()
		p := s.processes[r.Number]
		s.mu.Unlock()
		if p == nil {
			return &spawner.Error{Kind: spawner.Missing, Message: "the process has ended"}
		}
		if r.Signal < 1 || r.Signal > 64 {
			return &spawner.Error{Kind: spawner.Invalid, Message: fmt.Sprintf("there is no signal %d", r.Signal)}
		}
		return p.signal(unix.Signal(r.Signal))
	case spawner.AsksHolder:
		inodes := map[string]bool{}
		for _, n := range r.Inodes {
			inodes["socket:["+n+"]"] = true
		}
		a.Address = holder.Name(inodes)
		return nil
	case spawner.AsksSweep:
		s.sweep()
		return nil
	}
	return &spawner.Error{Kind: spawner.Invalid, Message: "a request without anything asked for"}
}

// with runs f with the spawner's own file rights, or those of the manager's user.
func (s *Spawner) with(rights bool, f func() error) error {
	if rights {
		return f()
	}
	return s.as(s.user, f)
}

// bind binds a socket, or hands over the one that a former manager had.
func (s *session) bind(b *spawner.Bind, a *spawner.Reply) error {
	rights, err := s.policy.Load().Bind(b.Network, b.Address, b.Transparent)
	if err != nil {
		return err
	}
	s.mu.Lock()
	for name, l := range s.leases {
		if l.left && l.asked.Same(b) {
			if l.Lost() {
				s.end(l)
				delete(s.leases, name)
				break
			}
			l.left = false
			a.Lease, a.Address = name, l.address
			s.mu.Unlock()
			return nil
		}
	}
	s.mu.Unlock()
	var over []*lease.Lease
	for _, name := range b.Over {
		if l, err := s.find(name); err == nil { // else it is closed, and in nobody's way
			over = append(over, l.Lease)
		}
	}
	l := &held{asked: *b, rights: rights}
	err = s.with(rights, func() (err error) {
		l.Lease, l.address, err = lease.Bind(b, over)
		return err
	})
	if err != nil {
		return err
	}
	a.Address = l.address
	a.Lease, err = s.keep(l)
	return err
}

// end closes a lease. The path of a unix socket is removed with the rights with
// which it was made.
func (s *Spawner) end(l *held) {
	_ = s.with(l.rights, func() error {
		l.Close()
		return nil
	})
}

// find returns a lease by its name. Leases are touched by the goroutine that
// answers requests only.
func (s *session) find(name string) (*held, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leases[name]; l != nil && !l.left {
		return l, nil
	}
	return nil, &spawner.Error{Kind: spawner.Missing, Message: "no lease " + name}
}

// keep stores a lease under a name of its own.
func (s *session) keep(l *held) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if most := s.policy.Load().Leases; len(s.leases) >= most {
		s.end(l)
		return "", &spawner.Error{Kind: spawner.Limit, Message: fmt.Sprintf("%d sockets and files are open already, which is the limit of the spawner's policy (limit leases)", most)}
	}
	s.last++
	name := fmt.Sprintf("lease-%d", s.last)
	s.leases[name] = l
	return name, nil
}

// sweep closes what a former manager had and this one does not want.
func (s *session) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, l := range s.leases {
		if l.left {
			s.end(l)
			delete(s.leases, name)
		}
	}
}

// endAll ends every process: it asks, waits a little, then insists.
func (s *session) endAll() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
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

func (s *session) running() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*process
	for _, p := range s.processes {
		all = append(all, p)
	}
	return all
}

// Package instance runs configured plugins. It shares processes between
// instances of one plugin, takes each instance through verify, prepare, commit
// and drain, connects its lane to the router, and starts processes again that
// ended by themselves. It decides nothing about configurations: host/apply says
// what to do, and keeps the leases.
//
// An Instance is one life of one address. When its process ends, the same
// Instance is prepared and committed again in the next process; when its
// configuration changes, a new Instance takes over from it.
//
// Locks: Set.mu before worker.mu before Instance.mu. None is held while a
// plugin is called.
package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/instance/internal/trouble"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// State is where an instance is in its life.
type State string

// States.
const (
	Preparing  State = "preparing"  // made, verified or prepared, not yet committed
	Ready      State = "ready"      // committed and served by a running process
	Restarting State = "restarting" // committed, its process ended and is started again
	Failed     State = "failed"     // committed, its process ended too often
	Draining   State = "draining"   // finishes what is in flight
	Ended      State = "ended"
)

// Instance is one configured plugin in one life.
type Instance struct {
	set        *Set
	worker     *worker
	config     config.Instance
	generation uint64

	mu        sync.Mutex
	restart   config.Restart
	state     State
	reason    string
	seat      *seat // in the running process, nil while there is none
	leases    []rpc.Lease
	listeners []string

	troubles trouble.Log
}

// Address returns the instance's address.
func (i *Instance) Address() string { return i.config.Address }

// Digest returns the digest of the executable that serves it.
func (i *Instance) Digest() string { return i.config.Digest }

// Owner names this life as the owner of leases.
func (i *Instance) Owner() string { return fmt.Sprintf("%s@%d", i.config.Address, i.generation) }

// State returns where the instance is in its life.
func (i *Instance) State() State {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state
}

// Update changes how often the process may be started again. The plugin is not
// told.
func (i *Instance) Update(r config.Restart) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.restart = r
}

// Verify starts the process where none runs and asks the plugin to check the
// configuration without side effects. ctx bounds the call.
func (i *Instance) Verify(ctx context.Context, progress func(rpc.Progress)) ([]schema.Diagnostic, error) {
	l, err := i.worker.current(ctx)
	if err != nil {
		return nil, err
	}
	in := i.wire(0)
	in.Leases = nil
	diags, err := l.control.Verify(ctx, in, progress)
	return diags, i.explain(ctx, "verify", l, err)
}

// Prepare builds the instance in its process, gated. leases are the
// descriptors of its attributes, listeners what they show in the status. ctx
// bounds the call.
func (i *Instance) Prepare(ctx context.Context, leases []rpc.Lease, listeners []string) ([]schema.Diagnostic, error) {
	l, err := i.worker.current(ctx)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	i.leases, i.listeners = leases, listeners
	i.mu.Unlock()
	return i.prepare(ctx, l)
}

func (i *Instance) prepare(ctx context.Context, l *life) ([]schema.Diagnostic, error) {
	s := l.seat(i)
	in := i.wire(s.handle)
	if len(in.Leases) > 0 {
		ids := make([]string, len(in.Leases))
		for n, lease := range in.Leases {
			ids[n] = lease.ID
		}
		if err := l.process.Give(ctx, ids); err != nil {
			l.leave(s)
			return nil, i.explain(ctx, "prepare", l, err)
		}
	}
	diags, err := l.control.Prepare(ctx, in)
	if err == nil {
		for _, d := range diags {
			if d.Severity == schema.Error {
				l.leave(s)
				return diags, nil
			}
		}
		i.mu.Lock()
		i.seat = s
		i.mu.Unlock()
		return diags, nil
	}
	l.leave(s)
	return diags, i.explain(ctx, "prepare", l, err)
}

// Commit makes the instance the one that events for its address go to, and
// opens its gate. It does not fail: where the process is gone or refuses, the
// instance is restarting and supervision takes over.
func (i *Instance) Commit(ctx context.Context) {
	i.mu.Lock()
	s := i.seat
	if s == nil { // its process ended after Prepare
		i.state, i.reason = Restarting, "its process ended before the commit"
	}
	i.mu.Unlock()
	if s == nil {
		i.worker.again(i)
		return
	}
	err := i.open(ctx, s)
	if errors.Is(err, errGone) {
		i.worker.again(i)
		return
	}
	if err != nil {
		i.set.o.Log.Error("commit failed, restarting the process", "instance", i.Address(), "error", err)
		s.life.kill("it did not commit " + i.Address() + ": " + err.Error())
	}
}

// open attaches a prepared seat to the router and opens the plugin's gate.
func (i *Instance) open(ctx context.Context, s *seat) error {
	s.attach(i)
	i.mu.Lock()
	seated := i.seat == s
	switch {
	case !seated && i.state == Preparing: // the process ended in between
		i.state, i.reason = Restarting, errGone.Error()
	case seated && i.state != Draining && i.state != Ended:
		i.state, i.reason = Ready, ""
	}
	i.mu.Unlock()
	if !seated {
		s.close(crash(s.life.reason(), nil))
		return errGone
	}
	if err := s.life.control.Commit(ctx, s.handle); err != nil {
		return i.explain(ctx, "commit", s.life, err)
	}
	return nil
}

// Abort forgets an instance that was not committed and ends its process when
// nobody else uses it. ctx bounds the plugin's part.
func (i *Instance) Abort(ctx context.Context) {
	i.mu.Lock()
	s := i.seat
	i.state, i.seat = Ended, nil
	i.mu.Unlock()
	if s != nil {
		if err := s.life.control.Abort(ctx, s.handle); err != nil && ctx.Err() == nil && !s.life.gone() {
			i.set.o.Log.Warn("abort failed", "instance", i.Address(), "error", err)
		}
		s.life.leave(s)
	}
	i.set.release(i.worker, i)
}

// Pause has the instance stop reading from datagram sockets, given by the ids of
// their leases, before its successor begins. It returns when it has, or when it
// cannot be asked.
func (i *Instance) Pause(ctx context.Context, leases []string) {
	i.mu.Lock()
	s := i.seat
	var attributes []string
	for _, l := range i.leases {
		if slices.Contains(leases, l.ID) {
			attributes = append(attributes, l.Attribute)
		}
	}
	i.mu.Unlock()
	if s == nil || len(attributes) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pauseTimeout)
	defer cancel()
	if err := s.life.control.Pause(ctx, s.handle, attributes); err != nil && !s.life.gone() {
		i.set.o.Log.Warn("pause failed: for a moment two instances read the same socket", "instance", i.Address(), "error", err)
	}
}

// pauseTimeout bounds how long a reload waits for an instance to stop reading.
const pauseTimeout = 2 * time.Second

// Drain lets the instance finish what is in flight within timeout, ends it and
// gives back what was not finished to its successor. It ends the process when
// no instance uses it any more, and returns when that has ended. ctx cuts the
// drain short.
func (i *Instance) Drain(ctx context.Context, timeout time.Duration) {
	i.mu.Lock()
	s := i.seat
	i.state = Draining
	i.mu.Unlock()
	if s != nil {
		if inbox := s.inbox.Load(); inbox != nil {
			inbox.Stop()
		}
		i.drain(ctx, s, timeout)
		s.close(&wire.Error{Code: wire.Unavailable, Reason: wire.ReasonDraining, Retryable: true,
			Message: "the instance was replaced before it answered"})
		s.life.leave(s)
	}
	i.mu.Lock()
	i.state, i.seat = Ended, nil
	i.mu.Unlock()
	i.set.release(i.worker, i)
}

// drain has the plugin finish, and waits for the outcomes of what it finished.
func (i *Instance) drain(ctx context.Context, s *seat, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout+drainGrace)
	defer cancel()
	unfinished, err := s.life.control.Drain(ctx, s.handle, timeout)
	switch {
	case err != nil:
		if !s.life.gone() {
			i.set.o.Log.Warn("drain failed", "instance", i.Address(), "error", err)
		}
		return
	case unfinished > 0:
		i.set.o.Log.Warn("drain gave up deliveries", "instance", i.Address(), "unfinished", unfinished)
	}
	inbox := s.inbox.Load()
	if inbox == nil {
		return
	}
	ctx, cancel = context.WithTimeout(ctx, drainGrace)
	defer cancel()
	if !inbox.Down(ctx, unfinished) && !s.life.gone() {
		left, _ := inbox.InFlight()
		i.set.o.Log.Warn("a drained instance did not answer what it had", "instance", i.Address(), "deliveries", left-unfinished)
	}
}

var errGone = errors.New("its process ended during the commit")

// drainGrace is how long after its timeout a plugin may take to answer Drain.
const drainGrace = 2 * time.Second

// Status returns what host status shows of the instance.
func (i *Instance) Status() observe.Instance {
	l, restarts, stderr, ended := i.worker.status()
	var now sight
	if l != nil {
		now = l.seen.look(l.process)
	}
	notes := i.troubles.Notes(now.wrote, filepath.Join(i.set.o.StateDir, "instances", stateName(i.config)))
	i.mu.Lock()
	defer i.mu.Unlock()
	s := observe.Instance{
		Address: i.config.Address, Plugin: i.config.Plugin, Digest: i.config.Digest,
		State: string(i.state), Light: observe.Green, Reason: i.reason,
		Restarts: restarts, Generation: i.generation, Listeners: i.listeners,
	}
	if l != nil {
		s.Pid = l.process.Pid()
	}
	if m := i.config.Manifest; m != nil {
		s.Version = m.Version
	}
	if i.seat != nil {
		if inbox := i.seat.inbox.Load(); inbox != nil {
			s.InFlight, s.Credit = inbox.InFlight()
		}
	}
	switch i.state {
	case Ready:
		for _, n := range now.limits {
			notes = append(notes, "it "+n)
		}
		if l != nil && len(l.process.Missing()) > 0 {
			notes = append(notes, "this machine does not keep: "+strings.Join(l.process.Missing(), "; "))
		}
		if len(notes) > 0 {
			s.Light = observe.Yellow
		}
		if ended != "" { // it serves again
			notes = append(notes, ended)
		}
		if now.yields { // which is as it should be
			notes = append(notes, "it uses most of what all plugins use, and yields to the others (process { cpu } bounds it)")
		}
		s.Reason = strings.Join(notes, "; ")
	case Restarting, Preparing:
		s.Light, s.Stderr = observe.Yellow, stderr
	case Failed:
		s.Light, s.Stderr = observe.Red, stderr
	}
	return s
}

// wire returns the instance as the plugin sees it.
func (i *Instance) wire(handle uint32) rpc.Instance {
	i.mu.Lock()
	defer i.mu.Unlock()
	return rpc.Instance{
		Handle: handle, Address: i.config.Address, Node: i.set.o.Node, Generation: i.generation,
		Config: i.config.Config, Leases: i.leases, Dir: i.set.o.Dir,
		StateDir: filepath.Join(i.set.o.StateDir, "instances", stateName(i.config), fileName(i.config.Address)),
	}
}

// fileName makes an address usable as the name of a directory; different
// addresses give different names.
func fileName(address string) string {
	var b strings.Builder
	for _, c := range []byte(address) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

// explain makes an error of a plugin call say which call, and, where the
// process ended during it, why that ended.
func (i *Instance) explain(ctx context.Context, call string, l *life, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &CallError{Address: i.Address(), Call: call, Err: os.ErrDeadlineExceeded}
	}
	// The connection breaks a moment before the process is reaped.
	select {
	case <-l.process.Done():
		return &CallError{Address: i.Address(), Call: call, Stderr: l.process.Stderr(),
			Err: fmt.Errorf("its process ended: %s", l.process.Exit().Reason)}
	case <-time.After(100 * time.Millisecond):
		return &CallError{Address: i.Address(), Call: call, Err: err}
	case <-ctx.Done():
		return &CallError{Address: i.Address(), Call: call, Err: context.Cause(ctx)}
	}
}

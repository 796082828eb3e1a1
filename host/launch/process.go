package launch

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner/client"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

const (
	stopTimeout = 5 * time.Second        // for a process that is asked to end
	killTimeout = 5 * time.Second        // for the spawner's answer
	pipeGrace   = 250 * time.Millisecond // for output in the pipes of a process that has ended
)

// Process is one running plugin process.
type Process struct {
	spec    Spec
	dir     string // its own: the control plane's socket, temporary files
	log     hclog.Logger
	hide    func(string) string
	client  *plugin.Client
	runner  *processRunner
	control rpc.Control

	child    atomic.Pointer[client.Process] // nil until it has been started
	out      *stdout
	err      *stderr
	done     chan struct{} // closed when it has ended, is reaped and its output is read
	stopping sync.Once
}

// Exit is how a process ended.
type Exit struct {
	Code   int    // -1 when ended by a signal
	Signal string // "killed" and so on, or empty
	Reason string // for people: "exit status 3", "ended by signal killed"
}

// begin follows a process that has been started.
func (p *Process) begin(c *client.Process) {
	p.out = newStdout(p.spec.Stdout, p.runner.kill, p.hide)
	p.err = newStderr(p.log, p.spec.Describe, p.hide)
	p.child.Store(c)
	var pipes sync.WaitGroup
	pipes.Go(func() { p.out.read(c.Stdout) })
	pipes.Go(func() { p.err.read(c.Stderr) })
	go func() {
		<-c.Done()
		// Somebody who left the process group may hold the pipes for ever.
		read := make(chan struct{})
		go func() { pipes.Wait(); close(read) }()
		select {
		case <-read:
		case <-time.After(pipeGrace):
		}
		_ = c.Stdout.Close()
		_ = c.Stderr.Close()
		<-read
		p.out.end()
		close(p.done)
		// go-plugin's goroutines end now, and its part of the directory goes.
		p.client.Kill()
	}()
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.child.Load().Pid }

// Control returns the control client; calls fail when the process ends.
func (p *Process) Control() rpc.Control { return p.control }

// Lane returns host's end of the lane; the caller runs and closes it.
func (p *Process) Lane() net.Conn { return p.child.Load().Lane }

// Give passes the descriptors of leases to the process.
func (p *Process) Give(ctx context.Context, leases []string) error {
	for _, id := range leases {
		if err := p.child.Load().Give(ctx, id); err != nil {
			return fmt.Errorf("pass %s: %w", id, err)
		}
	}
	return nil
}

// Missing is what of its limits and its sandbox the machine does not keep; see
// client.Process.
func (p *Process) Missing() []string { return p.child.Load().Missing }

// Notes says which limits it is at; see client.Process.
func (p *Process) Notes() []string { return p.child.Load().Notes() }

// Yields reports whether it yields to the processes of other plugins.
func (p *Process) Yields() bool { return p.child.Load().Yields() }

// Done is closed when the process has ended and is reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit says how the process ended; valid after Done.
func (p *Process) Exit() Exit {
	x := p.child.Load().Exit()
	e := Exit{Code: int(x.Code)}
	if x.Signal != 0 {
		e.Signal = unix.SignalName(unix.Signal(x.Signal))
		e.Reason = "ended by signal " + e.Signal
	} else {
		e.Reason = fmt.Sprintf("exit status %d", x.Code)
	}
	if x.Core {
		e.Reason += " (core dumped)"
	}
	if why := p.child.Load().Why(); why != "" {
		e.Reason += ": " + why
	}
	return e
}

// Hide takes secrets out of what the plugin says.
func (p *Process) Hide(text string) string { return p.hide(text) }

// Stderr returns the last lines of standard error, at most 20 of at most 512
// bytes, control characters escaped.
func (p *Process) Stderr() []string { return p.err.tail() }

// Stop ends the process: it asks with SIGTERM, waits until ctx ends (at most
// 5 s), then kills the process group. It returns when the process is reaped.
// Close the lane first: that is how a plugin knows that host is gone.
func (p *Process) Stop(ctx context.Context) {
	if ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(ctx, stopTimeout)
		defer cancel()
		p.stopping.Do(func() { _ = p.child.Load().Signal(ctx, unix.SIGTERM) })
		select {
		case <-p.done:
			return
		case <-ctx.Done():
		}
	}
	p.runner.kill()
	<-p.done
}

// Package launch runs plugin processes: it is the only importer of go-plugin
// in host. It asks the spawner to start a verified descriptor, shakes hands,
// and gives the control client, the lane and the way to pass descriptors. It
// restarts nothing: host/instance does.
package launch

import (
	"context"
	"io"
	"net"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/sdk/wire"
)

// Spec says what to start.
type Spec struct {
	Executable *os.File          // the verified descriptor; the caller keeps and closes it
	Path       string            // where it was found, for people and argv[0]
	Name       string            // of the plugin, for logs
	Env        map[string]string // all there is, besides PATH, LANG, TZ, HOME, TMPDIR and go-plugin's
	Memory     int64             // limit in bytes, 0 for none
	Describe   bool              // a short life for Describe only: tighter limits
	Stdout     io.Writer         // gets the plugin's own standard output, in whole lines
	Timeout    time.Duration     // from exec to a working control plane
}

// Launcher starts plugin processes through a spawner.
type Launcher struct{}

// New returns a launcher. dir is a private directory for sockets; leftovers in
// it are removed.
func New(sp *spawner.Client, dir string, log hclog.Logger) (*Launcher, error) { panic("unfinished") }

// Start starts a process and returns when its control plane answers, or a
// *StartError. ctx bounds the start only.
func (l *Launcher) Start(ctx context.Context, s Spec) (*Process, error) { panic("unfinished") }

// Process is one running plugin process.
type Process struct{}

// Pid returns the process id.
func (p *Process) Pid() int { panic("unfinished") }

// Control returns the control client; calls fail when the process ends.
func (p *Process) Control() wire.Control { panic("unfinished") }

// Lane returns host's end of the lane; the caller runs and closes it.
func (p *Process) Lane() net.Conn { panic("unfinished") }

// Give passes the descriptors of leases to the process.
func (p *Process) Give(ctx context.Context, leases []string) error { panic("unfinished") }

// Done is closed when the process has ended and is reaped.
func (p *Process) Done() <-chan struct{} { panic("unfinished") }

// Exit says how the process ended; valid after Done.
func (p *Process) Exit() Exit { panic("unfinished") }

// Stderr returns the last lines of standard error, at most 20 of at most 512
// bytes, control characters escaped.
func (p *Process) Stderr() []string { panic("unfinished") }

// Stop ends the process: it asks, waits until ctx ends (at most 5 s), then
// kills the process group. It returns when the process is reaped.
func (p *Process) Stop(ctx context.Context) { panic("unfinished") }

// Exit is how a process ended.
type Exit struct {
	Code   int    // -1 when ended by a signal
	Signal string // "killed" and so on, or empty
	Reason string // for people: "exit status 3", "ended by signal killed"
}

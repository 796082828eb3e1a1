package host

import (
	"io"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/internal/redact"
	"github.com/pluginhost/host/host/spawner/child"
	"github.com/pluginhost/host/host/spawner/client"
)

// Options configure a daemon. Everything else is in its HCL.
type Options struct {
	Source  config.Source
	Dev     bool         // use a changed executable at once, as host { on_change = "upgrade" }
	Version string       // shown by host status
	Log     hclog.Logger // nil: nothing is logged
	Record  int          // steps of events that the recorder keeps; 0 means 16,384
	Stdout  io.Writer    // gets what plugins print on their standard output; nil: nothing
	// Spawner is a spawner in another process, as under host run. nil: one runs
	// in this process, with its rights.
	Spawner *client.Client
	// Self is an executable whose main calls host.Child first, this one if it
	// does. The spawner in this process needs it to confine plugins; without it
	// they are not, and the status says so.
	Self string
	// User is who plugins run as that name no user, with a spawner in this
	// process that is root; empty: the caller.
	User string
	// Locked demands that there is a plugins.lock.hcl. One that is there holds
	// without it.
	Locked   bool
	unlocked bool // the lock is about to be written
	secrets  *redact.Values
	// Reload asks for a reload with each value, as SIGHUP does; may be nil.
	Reload <-chan os.Signal
	// Ready, when not nil, is called once with the path of the control socket
	// after the first generation has been committed.
	Ready func(socket string)
	// Generation, when not 0, is served in place of what is on disk; Last
	// stands for the last one.
	Generation uint64
	Last       bool
	// Notify tells systemd how the daemon is, where NOTIFY_SOCKET is set.
	Notify bool
	// Arrow, when not nil, is called at each transition of a transaction.
	// Tests end the process in it.
	Arrow func(name string)
}

// Child must be called first by the main of an executable that Options.Self
// names. In a process that is about to become a plugin it does not return;
// otherwise it does nothing.
func Child() { child.Main() }

// InvalidError says that the configuration has errors.
type InvalidError struct {
	Diagnostics config.Diagnostics
	Hint        string // what else can be done, or empty
}

// Error returns how many there are.
func (e *InvalidError) Error() string { return "the configuration is invalid" }

// RolledBackError says that the first generation could not be committed.
type RolledBackError struct {
	Diagnostics config.Diagnostics
	Message     string
	Hint        string // what else can be done, or empty
}

// Error returns why.
func (e *RolledBackError) Error() string { return "nothing was started: " + e.Message }

package host

import (
	"io"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/config"
)

// Options configure a daemon. Everything else is in its HCL.
type Options struct {
	Source  config.Source
	Dev     bool         // use a changed executable at once, as host { on_change = "upgrade" }
	Version string       // shown by host status
	Log     hclog.Logger // nil: nothing is logged
	Record  int          // steps of events that the recorder keeps; 0 means 16,384
	Stdout  io.Writer    // gets what plugins print on their standard output; nil: nothing
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

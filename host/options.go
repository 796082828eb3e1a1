package host

import (
	"io"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/config"
)

// Options configure a daemon. Everything else is in its HCL.
type Options struct {
	Source  config.Source
	Dev     bool   // restart instances when their executable changes
	Version string // shown by host status
	Log     hclog.Logger
	Stdout  io.Writer // gets what plugins print on their standard output
	// Ready, when not nil, is called once with the path of the control socket
	// after the first generation has been committed.
	Ready func(socket string)
}

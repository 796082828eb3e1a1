// Package launch runs plugin processes: it is the only importer of go-plugin
// in host. It asks the spawner to start a verified descriptor, shakes hands,
// and gives the control client, the lane and the way to pass descriptors. It
// restarts nothing: host/instance does.
//
// Nothing hostile reaches go-plugin: of what a process prints it sees the one
// handshake line, and its standard error never.
package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/client"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// maxShown is how many bytes of what a process printed are told in a reason.
const maxShown = 160

// Spec says what to start.
type Spec struct {
	Executable *os.File          // the verified descriptor; the caller keeps and closes it
	Path       string            // where it was found, for people and argv[0]
	Name       string            // of the plugin, for logs
	Env        map[string]string // all there is, besides PATH, LANG, TZ, HOME, TMPDIR and go-plugin's
	Start      spawner.Start     // user, digest, limits and sandbox; Argv, Env and Dir are filled in
	Describe   bool              // a short life for Describe only: its log lines are not shown
	Stdout     io.Writer         // gets the plugin's own standard output, in whole lines; nil drops it
	Timeout    time.Duration     // from exec to a working control plane
}

// Launcher starts plugin processes through a spawner.
type Launcher struct {
	spawner *client.Client
	dir     string
	log     hclog.Logger
	hide    func(string) string
}

// New returns a launcher. dir is a directory of its own; leftovers in it are
// removed. hide takes secrets out of what processes print and of what they say of
// their configuration; what goes to Spec.Stdout is passed on as it is.
func New(sp *client.Client, dir string, log hclog.Logger, hide func(string) string) (*Launcher, error) {
	l := &Launcher{spawner: sp, dir: dir, log: log, hide: hide}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("directory for go-plugin: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory for go-plugin: %w", err)
	}
	return l, nil
}

// Start starts a process and returns when its control plane answers, or a
// *StartError. ctx bounds the start only.
func (l *Launcher) Start(ctx context.Context, s Spec) (*Process, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	own, err := l.spawner.Dir(ctx, s.Start.User)
	if err != nil {
		return nil, &StartError{Path: s.Path, Phase: "exec", Reason: err.Error(), Err: err}
	}
	p := &Process{spec: s, dir: own, hide: l.hide, log: l.log.Named(filepath.Base(s.Name)),
		done: make(chan struct{})}
	p.runner = &processRunner{process: p, spawner: l.spawner, ctx: ctx}
	quiet := hclog.NewNullLogger() // what go-plugin has to say is in its errors
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  rpc.Handshake(),
		Plugins:          rpc.PluginSet(nil),
		RunnerFunc:       p.runner.attach,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		GRPCDialOptions:  rpc.DialOptions(),
		StartTimeout:     s.Timeout,
		SkipHostEnv:      true,
		Logger:           quiet,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: l.dir},
		SyncStdout:       newLogLines(p.log, "stdout"),
		SyncStderr:       newLogLines(p.log, "stderr"),
	})

	// go-plugin's Start knows no ctx. Ending the process unblocks it.
	started := make(chan error, 1)
	go func() {
		_, err := p.client.Start()
		started <- err
	}()
	select {
	case err = <-started:
	case <-ctx.Done():
		p.runner.kill()
		err = <-started
		if err == nil {
			err = context.Cause(ctx)
		}
	}
	if err == nil {
		err = p.connect()
	}
	if err != nil {
		return nil, p.failed(ctx, err)
	}
	return p, nil
}

// connect opens the control plane.
func (p *Process) connect() error {
	client, err := p.client.Client()
	if err != nil {
		return err
	}
	raw, err := client.Dispense(rpc.PluginName)
	if err != nil {
		return err
	}
	p.control = discreet{raw.(rpc.Control), p.hide}
	return nil
}

// failed ends what was started and says why it could not be used.
func (p *Process) failed(ctx context.Context, err error) error {
	e := &StartError{Path: p.spec.Path, Phase: "handshake", Err: err}
	child := p.child.Load()
	if child == nil {
		e.Phase, e.Reason = "exec", execReason(err)
		return e
	}
	// A process that ended by itself says why; one that is ended here does not.
	ended := false
	select {
	case <-child.Done():
		ended = true
	case <-time.After(50 * time.Millisecond):
	}
	p.runner.kill()
	<-p.done
	e.Stdout, e.Stderr = p.out.head(), p.Stderr()
	shown := strings.Join(e.Stdout, " | ") // printable already
	if len(shown) > maxShown {
		shown = strings.ToValidUTF8(shown[:maxShown], "") + "…"
	}
	switch {
	case p.out.flooded():
		e.Reason = fmt.Sprintf("it printed over %d KiB instead of the handshake line, beginning with \"%s\": it is not a plugin for host", maxBeforeHandshake>>10, shown)
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		e.Reason = fmt.Sprintf("no handshake line within %s: it is not a plugin for host, or it waits for something before sdk.Serve", p.spec.Timeout)
		if shown != "" {
			e.Reason += fmt.Sprintf("; it printed \"%s\"", shown)
		}
	case ctx.Err() != nil:
		e.Reason = "given up: " + context.Cause(ctx).Error()
	case p.out.matched() != "":
		e.Phase = "control"
		e.Reason = fmt.Sprintf("its handshake %s cannot be used: %s", p.out.matched(), oneLine(err.Error()))
	case shown != "":
		e.Reason = fmt.Sprintf("it printed \"%s\" instead of the handshake line: it is not a plugin for host, or it prints before sdk.Serve", shown)
	case ended:
		e.Reason = "it ended without a handshake line (" + p.Exit().Reason + "): it is not a plugin for host"
	default:
		e.Reason = "it closed its standard output without a handshake line: it is not a plugin for host"
	}
	return e
}

// execReason says what to do about an executable that the kernel refuses.
func execReason(err error) string {
	s := err.Error()
	switch {
	case strings.Contains(s, "exec format error"):
		return "the kernel cannot execute it (exec format error): it is for another machine, or a script without #!"
	case strings.Contains(s, "no such file"):
		return "its interpreter or loader does not exist (" + s + ")"
	case strings.Contains(s, "permission denied"):
		return s + ": chmod +x, or a directory mounted noexec"
	}
	return s
}

func oneLine(s string) string { return clean(strings.ReplaceAll(s, "\n", " "), 300) }

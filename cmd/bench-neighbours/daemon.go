package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
)

// daemon is host run with a neighbour, a plugin that misbehaves, and http.
type daemon struct {
	dir, url string
	cmd      *exec.Cmd
	ended    chan error
	client   *control.Client
}

const rogue = "rogue.evil"

const configuration = `
host {
  plugin_dir = "plugins"
  state_dir  = "state"
}
plugin "http" "web" {
  listen = "tcp://%s"
  path   = "/"
}
plugin "neighbour" "good" {}
plugin "rogue" "evil" {
  process {
    restart = { max = 100000, within = "1s", backoff = "50ms" }
%s
  }
}
route "ask" {
  from = http.web.request
  to   = neighbour.good.echo
}
route "provoke" {
  from = neighbour.good.provoked
  to   = rogue.evil.misbehave
  input = event.data
  delivery {
    attempts = 1
    timeout  = "10m"
  }
}
`

// disk is how large the file system is that the state of the plugin is on.
const disk = "64m"

// startDaemon starts one in a directory of its own. As root it runs as nobody,
// and the state of the plugin that misbehaves is on a small file system.
func startDaemon(ctx context.Context, o options) (d *daemon, err error) {
	d = &daemon{ended: make(chan error, 1)}
	if d.dir, err = os.MkdirTemp("", "neighbours"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.stop())
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	err = errors.Join(os.Chmod(d.dir, 0o755), os.Mkdir(filepath.Join(d.dir, "plugins"), 0o755),
		drop(self, filepath.Join(d.dir, "plugins", "neighbour")), drop(self, filepath.Join(d.dir, "plugins", "rogue")),
		drop(filepath.Join(o.plugins, "http"), filepath.Join(d.dir, "plugins", "http")))
	if err != nil {
		return nil, err
	}
	at, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	d.url = "http://" + at + "/"
	if err := os.WriteFile(filepath.Join(d.dir, "main.hcl"), fmt.Appendf(nil, configuration, at, o.limits), 0o644); err != nil {
		return nil, err
	}
	args := []string{o.host, "run", "-c", d.dir, "--log-level", "error"}
	sys := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		own := filepath.Join(d.dir, "state", "instances", "rogue")
		if err := errors.Join(os.MkdirAll(own, 0o711), os.Chown(filepath.Join(d.dir, "state"), nobody, nobody), os.Chown(filepath.Dir(own), nobody, nobody)); err != nil {
			return nil, err
		}
		mount := fmt.Sprintf("mount -t tmpfs -o size=%s,uid=%d,gid=%d,mode=700 rogue '%s' && exec \"$@\"", disk, nobody, nobody, own)
		args = append([]string{"/bin/sh", "-c", mount, "sh"}, append(args, "--user", "nobody")...)
		sys.Unshareflags = syscall.CLONE_NEWNS
	}
	d.cmd = exec.CommandContext(context.WithoutCancel(ctx), args[0], args[1:]...) // it is asked to stop
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr, d.cmd.SysProcAttr = d.dir, os.Stderr, os.Stderr, sys
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { d.ended <- d.cmd.Wait() }()
	if d.client, err = control.Dial("unix://" + filepath.Join(d.dir, "state", "run", "host.sock")); err != nil {
		return nil, err
	}
	return d, d.ready(ctx)
}

const nobody = 65534

// drop copies an executable. What its name is, behind its end, makes another digest
// of each: the catalog keeps a manifest for a digest.
func drop(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, append(b, filepath.Base(to)...), 0o755)
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// ready waits until the plugin that misbehaves is ready to do so again.
func (d *daemon) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	last := errors.New("it does not answer")
	for ctx.Err() == nil {
		in, err := d.rogue(ctx)
		if err == nil && in.State == "ready" && in.Pid > 0 {
			return nil
		}
		if last = err; err == nil {
			last = fmt.Errorf("%s is %s: %s", in.Address, in.State, in.Reason)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("the daemon is not ready: %w", last)
}

func (d *daemon) rogue(ctx context.Context) (observe.Instance, error) {
	s, err := d.client.Status(ctx)
	if err != nil {
		return observe.Instance{}, err
	}
	for _, in := range s.Instances {
		if in.Address == rogue {
			return in, nil
		}
	}
	return observe.Instance{}, errors.New("there is no " + rogue)
}

// provoke has the plugin misbehave and returns what the promise was rejected with.
func (d *daemon) provoke(ctx context.Context, what deed) (string, error) {
	data, err := json.Marshal(what)
	if err != nil {
		return "", err
	}
	length, err := time.ParseDuration(what.For)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, length+grace, fmt.Errorf("%s should have ended after %s and has not after %s more", what.How, length, grace))
	defer cancel()
	r, err := d.client.Emit(ctx, control.EmitRequest{Type: "neighbour.good.provoked", Data: data, Timeout: 10 * time.Minute})
	switch {
	case err != nil && ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil:
		return "", err
	case r.Err == nil:
		return "", fmt.Errorf("%s was possible: %s", what.How, r.Value)
	}
	return r.Err.Message, nil
}

// end ends what the plugin has going on: it is killed and started again.
func (d *daemon) end(ctx context.Context) error {
	in, err := d.rogue(ctx)
	if err != nil {
		return err
	}
	if in.Pid > 0 {
		_ = syscall.Kill(in.Pid, syscall.SIGKILL) // it may have ended
	}
	time.Sleep(200 * time.Millisecond)
	return d.ready(ctx)
}

func (d *daemon) stop() error {
	if d.client != nil {
		d.client.Close()
	}
	var err error
	if d.cmd != nil && d.cmd.Process != nil {
		_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case err = <-d.ended:
		case <-time.After(time.Minute):
			_ = d.cmd.Process.Kill()
			err = errors.New("the daemon did not end")
		}
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

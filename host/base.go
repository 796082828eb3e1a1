package host

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/launch"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/client"
	"github.com/pluginhost/host/host/spawner/embedded"
	"github.com/pluginhost/host/host/spawner/server"
	"github.com/pluginhost/host/sdk/schema"
)

// helloTimeout bounds the spawner's first answer.
const helloTimeout = 30 * time.Second

// base is a spawner that can be asked and a launcher on it: enough to ask an
// executable what it is.
type base struct {
	spawner  *client.Client
	spawning *actor   // nil: the spawner is another process
	user     string   // who processes run as that name no user
	lacks    []string // what the machine cannot do
	launcher *launch.Launcher
}

// newBase greets the spawner of another process, or serves one in this process.
// stateDir is made where it is missing.
func newBase(ctx context.Context, stateDir string, o Options) (*base, error) {
	b := &base{spawner: o.Spawner}
	if b.spawner == nil {
		so := server.Options{Self: o.Self}
		if o.User != "" {
			u, err := server.Lookup(o.User)
			if err != nil {
				return nil, err
			}
			so.User = u
		}
		client, serve, err := embedded.New(so)
		if err != nil {
			return nil, err
		}
		b.spawner, b.spawning = client, start(serve)
	}
	// Who was asked to stop stops a little later, and without an error.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), helloTimeout)
	defer cancel()
	var err error
	if b.user, b.lacks, err = b.spawner.Hello(ctx, spawner.Hello{StateDir: stateDir}); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// launches makes the launcher for the executables in pluginDir. dir holds what
// go-plugin wants a directory for.
func (b *base) launches(ctx context.Context, stateDir, pluginDir, dir string, o Options) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), helloTimeout)
	defer cancel()
	if _, _, err := b.spawner.Hello(ctx, spawner.Hello{StateDir: stateDir, PluginDir: pluginDir}); err != nil {
		return err
	}
	b.launcher, err = launch.New(b.spawner, dir, o.Log.Named("launch"), o.secrets.Hide)
	return err
}

// close ends every process that is left and waits for it.
func (b *base) close() {
	_ = b.spawner.Close() // the spawner ends on that
	if b.spawning != nil {
		b.spawning.stop()
	}
}

// describe asks an executable for its manifest, in a process of its own.
func (b *base) describe(settings config.Host) func(context.Context, *os.File, string, string) (*schema.Manifest, error) {
	return func(ctx context.Context, exe *os.File, path, digest string) (*schema.Manifest, error) {
		p, err := b.launcher.Start(ctx, launch.Spec{Executable: exe, Path: path, Name: path,
			Start: spawner.Start{Digest: digest}, Describe: true, Timeout: settings.Describe})
		if err != nil {
			return nil, err
		}
		defer func() {
			ended, cancel := context.WithCancel(context.Background())
			cancel() // it has nothing to finish
			_ = p.Lane().Close()
			p.Stop(ended)
		}()
		return p.Control().Describe(ctx)
	}
}

// gone returns a context that also ends when the spawner does: nothing can be
// started, and all processes have ended.
func (b *base) gone(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-b.spawner.Gone():
			cancel(fmt.Errorf("host: %w", client.ErrClosed))
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// sweep closes the sockets that a manager before this one had and this one does
// not want.
func (b *base) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	_ = b.spawner.Sweep(ctx) // a spawner that is gone has closed them
}

// removeDead removes the file of a unix socket that nobody answers on. The
// manager may not; whoever binds a path has a dead one removed first, and its own
// at the end.
func (b *base) removeDead(network, path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), helloTimeout)
	defer cancel()
	lease, _, err := b.spawner.Bind(ctx, spawner.Bind{Network: network, Address: path, Key: "dead",
		Settings: spawner.Settings{Mode: 0o600, UID: -1, GID: -1}})
	if err != nil {
		return err
	}
	return b.spawner.Release(ctx, lease)
}

// status says what the spawner cannot do on this machine.
func (b *base) status() observe.Subsystem {
	s := observe.Subsystem{Name: "spawner", Light: observe.Green}
	if len(b.lacks) > 0 {
		s.Light, s.Reason = observe.Yellow, strings.Join(b.lacks, "; ")+"; host doctor says more"
	}
	return s
}

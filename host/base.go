package host

import (
	"context"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/launch"
	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/sdk/schema"
)

// base is a served spawner and a launcher on it: enough to ask an executable
// what it is.
type base struct {
	spawner  *spawner.Client
	launcher *launch.Launcher
	spawning *actor
}

func newBase(dir string, log hclog.Logger) (*base, error) {
	client, serve, err := spawner.Pair()
	if err != nil {
		return nil, err
	}
	b := &base{spawner: client, spawning: start(serve)}
	if b.launcher, err = launch.New(client, dir, log.Named("launch")); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// close ends every process that is left and waits for it.
func (b *base) close() {
	_ = b.spawner.Close() // the spawner ends on that
	b.spawning.stop()
	if b.launcher != nil {
		_ = b.launcher.Close() // an empty directory may stay
	}
}

// describe asks an executable for its manifest, in a process of its own.
func (b *base) describe(settings config.Host) func(context.Context, *os.File, string) (*schema.Manifest, error) {
	return func(ctx context.Context, exe *os.File, path string) (*schema.Manifest, error) {
		p, err := b.launcher.Start(ctx, launch.Spec{Executable: exe, Path: path, Name: path,
			Describe: true, Timeout: settings.Describe})
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

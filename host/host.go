// Package host is the daemon. Run is the story in one file: it wires the
// spawner, the catalog, the router, the instances and the applier, commits the
// first generation, and takes everything down in the reverse order. Everything
// it wires can be read on its own; none of it knows this package.
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/generation"
	"github.com/pluginhost/host/host/instance"
	"github.com/pluginhost/host/host/internal/redact"
	"github.com/pluginhost/host/host/notify"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/observe/metrics"
	"github.com/pluginhost/host/host/resource"
	"github.com/pluginhost/host/host/route"
	"github.com/pluginhost/host/host/spawner/client"
	"github.com/pluginhost/host/sdk/wire"
)

// steps is how many steps of events the recorder keeps.
const steps = 16384

// Run runs a daemon until ctx ends, then drains it. It returns nil after a
// drain, an *InvalidError or *RolledBackError when the first configuration
// could not be served, or why the daemon could not run.
func Run(ctx context.Context, o Options) error {
	o = o.withDefaults()
	settings, dir, diags := settingsOf(o.Source)
	if diags.HasErrors() && !o.picks() {
		return &InvalidError{Diagnostics: diags}
	}

	// The privileged side starts processes, binds sockets and opens files. It
	// makes the state directory, too.
	b, err := newBase(ctx, settings.StateDir, o)
	if err != nil {
		return err
	}
	defer b.close()
	ctx, cancel := b.gone(ctx)
	defer cancel(nil)

	// What was committed before, and the lock that says that no other daemon
	// uses this state directory.
	store, log, err := b.openStore(settings.StateDir, o)
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(log.Close(), store.Close()) }()
	pick, err := o.pick(store)
	if err != nil {
		return err
	}
	if pick != nil {
		settings, dir, _ = settingsOf(recorded(o.Source, store, pick))
	}

	// The control socket, to be found as soon as there is something to ask.
	server := control.NewServer(o.Log.Named("control"))
	socket := SocketPath(settings.StateDir)
	if err := server.Listen(socket); err != nil {
		return err
	}

	systemd := notify.New(o.Notify, o.Log.Named("systemd"))
	systemd.Starting(longest(settings))

	// Executables become manifests.
	g, err := newGround(ctx, b, settings, dir, o)
	if err == nil {
		err = g.catalog.Scan(ctx)
	}
	if err != nil {
		switch {
		case g != nil && ctx.Err() != nil: // asked to stop before it was up
			err = nil
		case pick == nil:
			err = withProblems(err, o.Source)
		}
		return errors.Join(err, server.Close())
	}
	watching := start(g.catalog.Run)
	defer watching.stop()

	// Events become promises.
	recorder := observe.NewRecorder(o.Record)
	audit := observe.NewAudit(recorder, func(instance string, err *wire.Error, untold uint64) {
		o.Log.Warn("refused to act as somebody else", "instance", instance, "error", err, "untold", untold)
	})
	router := route.New(route.Options{Node: settings.Node, Recorder: recorder, Log: o.Log.Named("route")})
	routing := start(router.Run)
	defer routing.stop()

	// Configured plugins become instances.
	instances := instance.NewSet(instance.Options{
		Launcher: g.launcher, Router: router, Audit: audit, Open: g.catalog.Open, Node: settings.Node,
		Dir: dir, StateDir: settings.StateDir, Stdout: o.Stdout, Log: o.Log.Named("instance"),
	})
	running := start(instances.Run)
	defer running.stop()

	// What is counted can be read by Prometheus.
	d := &daemon{}
	measures := metrics.New(d.snapshot)
	server.ShowMetrics(measures.Handler())

	// Configurations become generations.
	cache := &config.Cache{}
	applier := apply.New(apply.Options{
		Load: func(ctx context.Context, of *generation.Record) (apply.Loaded, config.Diagnostics) {
			loaded, diags := load(ctx, o, settings, g.catalog, store, of, cache)
			if loaded.Config != nil {
				o.secrets.Add(loaded.Config.Secrets...)
			}
			return loaded, diags
		},
		Disk:      func() string { return onDisk(o.Source) },
		Instances: apply.Plugins(instances), Leases: resource.NewTable(g.spawner), Router: router,
		Store: store, Log: log, Retain: g.catalog.Retain, Connections: resource.Connections,
		Logger: o.Log.Named("apply"), Arrow: o.Arrow,
		Began: func() { systemd.Reloading(longest(settings)) },
		Ended: func(r observe.Reload) {
			measures.Reload(r)
			systemd.Reloaded(fmt.Sprintf("generation %d; the last reload: %s", r.Generation, r.Outcome))
		},
	})

	// Everything can be asked for over the control socket.
	*d = daemon{base: b, options: o, settings: settings, dir: dir, started: time.Now(), catalog: g.catalog, router: router,
		recorder: recorder, audit: audit, applier: applier, store: store, log: log, secrets: o.secrets}
	serving := start(func(ctx context.Context) error { return server.Run(ctx, d) })
	defer serving.stop()

	err = d.first(ctx, pick)
	atMost := settings.DrainTimeout // unless a reload has changed it
	if err == nil {
		b.sweep(ctx)
		router.EmitHost("ready", map[string]any{"generation": applier.Generation()})
		returning := start(applier.Run)
		alive := start(func(ctx context.Context) error { return systemd.Run(ctx, d.alive) })
		systemd.Ready(fmt.Sprintf("generation %d", applier.Generation()))
		if o.Ready != nil {
			o.Ready(socket)
		}
		err = d.follow(ctx, serving)
		if c := applier.Config(); c != nil {
			atMost = c.Host.DrainTimeout
		}
		systemd.Stopping(atMost + stopExtra)
		alive.stop()
		returning.stop()
		o.Log.Info("stopping: draining what is in flight", "at_most", atMost)
	}
	drain, end := context.WithTimeout(context.WithoutCancel(ctx), atMost+stopExtra/2)
	defer end()
	applier.Shutdown(drain, generation.System("stop"))
	routing.stop() // what is pending all the same is rejected while it can be told
	if cause := context.Cause(ctx); errors.Is(cause, client.ErrClosed) {
		err = errors.Join(err, cause)
	}
	if err == nil {
		o.Log.Info("stopped")
	}
	return err
}

// stopExtra is how long the end may take beyond the drain.
const stopExtra = 10 * time.Second

// longest is how long a transaction may take, each phase with its deadline.
func longest(h config.Host) time.Duration {
	return h.Describe + h.Load + h.Reserve + h.Start + h.Verify + h.Prepare + h.Commit
}

// follow reloads when it is asked to, or when an executable in use changes and
// that is wanted, until ctx ends or the control API fails.
func (d *daemon) follow(ctx context.Context, serving *actor) error {
	changed := d.catalog.Subscribe(ctx)
	// Reloads run beside this loop, so that a newer one can take the place of
	// an older one.
	var reloads sync.WaitGroup
	defer reloads.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-serving.done:
			return fmt.Errorf("the control API ended: %w", serving.err)
		case <-d.options.Reload:
			reloads.Go(func() { d.reload(ctx, "SIGHUP") })
		case <-changed:
			d.router.EmitHost("plugin.changed", map[string]any{})
			if d.upgrades() && d.outdated() {
				reloads.Go(func() { d.reload(ctx, "an executable changed") })
			}
		}
	}
}

// ground is what everything else stands on: the spawner, the launcher and the
// catalog.
type ground struct {
	*base
	catalog *catalog.Catalog
}

func newGround(ctx context.Context, b *base, settings config.Host, dir string, o Options) (*ground, error) {
	if err := b.launches(ctx, settings.StateDir, settings.PluginDir, filepath.Join(settings.StateDir, "run", "p"), o); err != nil {
		return nil, err
	}
	return &ground{base: b, catalog: catalog.New(catalog.Options{
		Dir: settings.PluginDir, CacheDir: filepath.Join(settings.StateDir, "manifests"),
		Describe: b.describe(settings), Deadline: settings.Describe, Log: o.Log.Named("catalog"),
		Lock: locked(dir, o.Locked),
	})}, nil
}

// SocketPath returns where the daemon with this state directory is reached.
func SocketPath(stateDir string) string { return filepath.Join(stateDir, "run", "host.sock") }

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Record <= 0 {
		o.Record = steps
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	o.secrets = &redact.Values{}
	o.Log = o.secrets.Log(o.Log)
	o.Stdout = &lines{w: o.Stdout, log: o.Log, hide: o.secrets.Hide}
	return o
}

// lines lets many plugins write whole lines to one writer.
type lines struct {
	mu     sync.Mutex
	w      io.Writer
	log    hclog.Logger
	hide   func(string) string
	failed bool // and said so
}

func (l *lines) Write(p []byte) (int, error) {
	text := l.hide(string(p))
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := io.WriteString(l.w, text)
	if err != nil && !l.failed {
		l.log.Error("standard output cannot be written: what plugins print there is lost", "error", err)
	}
	l.failed = err != nil
	return len(p), err
}

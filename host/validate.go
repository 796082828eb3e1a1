package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/trial"
	"github.com/pluginhost/host/sdk/schema"
)

// Test checks a configuration as Validate does, and runs those of its tests that
// want lets pass; all when it is nil. With errors in the diagnostics none runs.
func Test(ctx context.Context, o Options, want func(name string) bool) ([]trial.Result, config.Diagnostics, error) {
	c, diags, err := build(ctx, o)
	if err != nil || c == nil || diags.HasErrors() {
		return nil, diags, err
	}
	results := []trial.Result{}
	for n := range c.Tests {
		if t := &c.Tests[n]; want == nil || want(t.Name) {
			r, err := trial.Run(ctx, c, t)
			if err != nil {
				return results, diags, err
			}
			results = append(results, r)
		}
	}
	return results, diags, nil
}

// errOffline is why an executable was not asked what it is.
var errOffline = errors.New("is not in the manifest cache, and with --offline nothing is started to ask")

// Validate checks a configuration without a daemon: it reads it, asks the
// executables that are not in the manifest cache what they are, and returns
// every diagnostic at once. With Source.Offline it starts nothing: what the
// cache does not know is a warning. An error means that it could not check.
func Validate(ctx context.Context, o Options) (config.Diagnostics, error) {
	_, diags, err := build(ctx, o)
	return diags, err
}

// build reads a configuration and what the executables say of themselves.
func build(ctx context.Context, o Options) (*config.Config, config.Diagnostics, error) {
	o = o.withDefaults()
	files, diags := config.Open(o.Source)
	if files == nil {
		return nil, diags, nil
	}
	settings := files.Host()
	c, cache, end, err := look(ctx, o, settings, files.Dir())
	if err != nil {
		return nil, nil, err
	}
	defer end()
	scan := c.Scan(ctx)
	var plugins config.Plugins = c.Snapshot()
	if o.Source.Offline {
		plugins = cached{c.Snapshot(), catalog.Cached(cache)}
	}
	built, diags := files.Build(plugins) // with those of Open
	switch {
	case scan != nil && o.Source.Offline:
		d := problem("The plugin directory is not here", scan.Error())
		d.Severity = schema.Warning
		diags = append(diags, d)
	case scan != nil:
		diags = append(diags, problem("The plugin directory cannot be used", scan.Error()))
	}
	for _, e := range c.Snapshot().Entries {
		if e.State == catalog.Rejected {
			diags = append(diags, config.Diagnostic{Severity: schema.Warning, Summary: "This executable is not used",
				Detail: e.Path + ": " + e.Reason})
		}
	}
	return built, diags, nil
}

// cached are the plugins in the plugin directory, and those of which only the
// manifest is known.
type cached struct {
	*catalog.Snapshot
	manifests map[string]*schema.Manifest
}

// Manifest implements config.Plugins.
func (c cached) Manifest(name string) (*schema.Manifest, string, bool) {
	if m, digest, ok := c.Snapshot.Manifest(name); ok {
		return m, digest, true
	}
	m, ok := c.manifests[name]
	return m, "", ok
}

// look makes a catalog without a daemon, with a spawner of its own until end.
// Nothing is left behind: without a state directory there is no cache.
func look(ctx context.Context, o Options, settings config.Host, dir string) (_ *catalog.Catalog, cache string, end func(), err error) {
	scratch, err := os.MkdirTemp("", "host-validate-")
	if err != nil {
		return nil, "", nil, err
	}
	undo := func() { _ = os.RemoveAll(scratch) }
	defer func() {
		if err != nil {
			undo()
		}
	}()
	if err := os.Chmod(scratch, 0o711); err != nil { // another user may have its state in it
		return nil, "", nil, err
	}
	cache = filepath.Join(settings.StateDir, "manifests")
	if _, err := os.Stat(cache); err != nil {
		cache = filepath.Join(scratch, "manifests")
	}
	describe := func(context.Context, *os.File, string, string) (*schema.Manifest, error) { return nil, errOffline }
	if !o.Source.Offline {
		state := filepath.Join(scratch, "state")
		b, err := newBase(ctx, state, o)
		if err != nil {
			return nil, "", nil, err
		}
		undo = func() {
			b.close()
			_ = os.RemoveAll(scratch)
		}
		if err = b.launches(ctx, state, settings.PluginDir, filepath.Join(scratch, "p"), o); err != nil {
			return nil, "", nil, err
		}
		describe = b.describe(settings)
	}
	co := catalog.Options{Dir: settings.PluginDir, CacheDir: cache, Describe: describe, Deadline: settings.Describe, Log: o.Log.Named("catalog")}
	if !o.unlocked {
		co.Lock = locked(dir, o.Locked)
	}
	return catalog.New(co), cache, undo, nil
}

// problem is an error without a place in a file.
func problem(summary, detail string) config.Diagnostic {
	return config.Diagnostic{Severity: schema.Error, Summary: summary, Detail: detail}
}

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/config/lock"
	"github.com/pluginhost/host/sdk/schema"
)

// locked reads the lock of a configuration directory at each look of the
// catalog. Without a lock everything may be used, unless one is demanded.
func locked(dir string, demanded bool) func() func(digest string) string {
	return func() func(string) string {
		l, err := lock.Read(dir)
		switch {
		case errors.Is(err, lock.ErrNone) && !demanded:
			return func(string) string { return "" }
		case errors.Is(err, lock.ErrNone):
			return func(string) string {
				return "there is no " + lock.Name + ", and --locked demands one: host plugins lock writes it"
			}
		case err != nil:
			return func(string) string { return err.Error() }
		}
		return l.Refuse
	}
}

// Lock asks the executables in the plugin directory what they are and writes
// those that can be used into plugins.lock.hcl.
func Lock(ctx context.Context, o Options) ([]lock.Plugin, error) {
	o = o.withDefaults()
	files, diags := config.Open(o.Source)
	if files == nil {
		return nil, &InvalidError{Diagnostics: diags}
	}
	o.unlocked = true
	c, _, end, err := look(ctx, o, files.Host(), files.Dir())
	if err != nil {
		return nil, err
	}
	defer end()
	if err := c.Scan(ctx); err != nil {
		return nil, err
	}
	var plugins []lock.Plugin
	for _, e := range c.Snapshot().Entries {
		if e.State == catalog.Ready || e.State == catalog.Superseded {
			plugins = append(plugins, lock.Plugin{Name: e.Name, Version: e.Version, Digest: e.Digest, Capabilities: e.Manifest.Capabilities})
		}
	}
	return plugins, lock.Write(files.Dir(), plugins)
}

// Verified is how an executable, or a line of the lock, compares.
type Verified struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

// VerifyLock compares the plugin directory with plugins.lock.hcl and executes
// nothing.
func VerifyLock(ctx context.Context, o Options) ([]Verified, error) {
	o = o.withDefaults()
	files, diags := config.Open(o.Source)
	if files == nil {
		return nil, &InvalidError{Diagnostics: diags}
	}
	l, err := lock.Read(files.Dir())
	if err != nil {
		return nil, err
	}
	asked := errors.New("not asked")
	c := catalog.New(catalog.Options{Dir: files.Host().PluginDir, CacheDir: filepath.Join(files.Dir(), "none"), Log: o.Log,
		Describe: func(context.Context, *os.File, string, string) (*schema.Manifest, error) { return nil, asked }})
	if err := c.Scan(ctx); err != nil {
		return nil, err
	}
	there := map[string]bool{}
	var all []Verified
	for _, e := range c.Snapshot().Entries {
		v := Verified{Name: filepath.Base(e.Path), Digest: e.Digest}
		if v.Reason = e.Reason; e.Digest != "" {
			v.Reason = l.Refuse(e.Digest)
		}
		v.OK = v.Reason == ""
		there[e.Digest] = true
		all = append(all, v)
	}
	for _, p := range l.Plugins {
		if !there[p.Digest] {
			all = append(all, Verified{Name: p.Name, Digest: p.Digest, Reason: fmt.Sprintf("%s %s is locked and not in the plugin directory", p.Name, p.Version)})
		}
	}
	return all, nil
}

package host

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/generation"
	"github.com/pluginhost/host/sdk/schema"
)

// openStore opens the generations of a state directory, and the log of who
// tried to make them.
func (b *base) openStore(stateDir string, o Options) (*generation.Store, *generation.Log, error) {
	store, err := generation.Open(stateDir)
	if err != nil {
		return nil, nil, err
	}
	if err := store.Sweep(b.removeDead); err != nil {
		o.Log.Warn("a socket of a daemon that was killed stays", "error", err)
	}
	log, err := generation.OpenLog(stateDir, store)
	if err != nil {
		_ = store.Close()
		return nil, nil, err
	}
	return store, log, nil
}

// StateDir is where a daemon with this configuration keeps its state; ok says
// that the configuration can be read.
func StateDir(s config.Source) (dir string, ok bool) {
	settings, _, diags := settingsOf(s)
	return settings.StateDir, !diags.HasErrors()
}

// settingsOf reads the host block. Only what cannot be read at all is an error:
// the rest is told when everything is.
func settingsOf(s config.Source) (settings config.Host, dir string, diags config.Diagnostics) {
	files, diags := config.Open(s)
	if files == nil {
		dir, _ = filepath.Abs(s.Dir)
		return config.Defaults(s), dir, diags
	}
	return files.Host(), files.Dir(), nil
}

// withProblems adds what is wrong with the files to why nothing could be
// started: a host block that is wrong may be the cause.
func withProblems(err error, s config.Source) error {
	_, diags := config.Open(s)
	if !diags.HasErrors() {
		return err
	}
	return &InvalidError{Diagnostics: append(diags, problem("The plugin directory cannot be used", err.Error()))}
}

// picks reports whether a generation is to be served in place of what is on disk.
func (o Options) picks() bool { return o.Last || o.Generation != 0 }

// pick finds that generation, nil for none.
func (o Options) pick(store *generation.Store) (*generation.Record, error) {
	if !o.picks() {
		return nil, nil
	}
	last, ok := store.Last()
	if !ok {
		return nil, fmt.Errorf("no generation has been committed with this state directory; --state-dir names another")
	}
	if o.Last {
		return &last, nil
	}
	r, err := store.Get(o.Generation)
	return &r, err
}

// first commits the first generation: the one that was picked, or what the
// record says.
func (d *daemon) first(ctx context.Context, pick *generation.Record) error {
	var n uint64
	if pick != nil {
		n = pick.Generation
	}
	last, served := d.store.Last()
	r, err := d.applier.Boot(ctx, generation.System("host run"), n)
	if err != nil || r.Outcome == apply.RolledBack && ctx.Err() != nil { // asked to stop before it was up
		return err
	}
	hint := ""
	if served && pick == nil {
		hint = fmt.Sprintf("host run --generation last serves generation %d, which was committed at %s by %s",
			last.Generation, last.Time.Local().Format("2006-01-02 15:04:05"), last.Who.User)
	}
	switch r.Outcome {
	case apply.Invalid:
		return &InvalidError{r.Diagnostics, hint}
	case apply.RolledBack:
		return &RolledBackError{r.Diagnostics, r.Message, hint}
	}
	for _, x := range r.Diagnostics {
		d.options.Log.Warn(x.Summary, "detail", x.Detail, "file", x.File, "line", x.Line)
	}
	return nil
}

// alive returns nil when the parts that everything waits for answer.
func (d *daemon) alive(ctx context.Context) error {
	done := make(chan struct{})
	go func() { // ends as soon as the parts do answer, or with the process
		defer close(done)
		_, _ = d.Status(ctx)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// load reads the configuration on disk, or that of a generation, against the
// plugins there are now.
func load(ctx context.Context, o Options, started config.Host, c *catalog.Catalog, store *generation.Store, of *generation.Record, cache *config.Cache) (apply.Loaded, config.Diagnostics) {
	source := o.Source
	if of != nil {
		source = recorded(source, store, of)
	}
	mine, back := cache.Borrow()
	defer back()
	source.Cache = mine
	loaded, diags := read(ctx, source, started, c, of)
	if mine != nil && len(diags) > 0 && ctx.Err() == nil {
		source.Cache = nil
		return read(ctx, source, started, c, of)
	}
	return loaded, diags
}

func read(ctx context.Context, source config.Source, started config.Host, c *catalog.Catalog, of *generation.Record) (loaded apply.Loaded, diags config.Diagnostics) {
	files, diags := config.Open(source)
	if files == nil {
		return loaded, diags
	}
	// Of a large configuration the fingerprint takes its time: meanwhile the
	// rest is read.
	made := sourceOf(files)
	printed := make(chan generation.Source, 1)
	go func() { printed <- made.Printed() }()
	defer func() { loaded.Source = <-printed }()
	if err := c.Scan(ctx); err != nil {
		return loaded, append(diags, problem("The plugin directory cannot be used", err.Error()))
	}
	var plugins config.Plugins = c.Snapshot()
	if of != nil {
		plugins = pinned{c.Snapshot(), of.Plugins}
	}
	loaded.Config, diags = files.Build(plugins)
	if h := files.Host(); h.PluginDir != started.PluginDir || h.StateDir != started.StateDir || h.Node != started.Node {
		loaded.Config = nil
		diags = append(diags, problem("The daemon must be started anew for this",
			"plugin_dir, state_dir and node cannot change while it runs. Put the old values back, or stop it and start it again."))
	}
	return loaded, diags
}

// onDisk is the fingerprint of what is on disk, empty when it cannot be read.
func onDisk(s config.Source) string {
	files, _ := config.Open(s)
	if files == nil {
		return ""
	}
	return sourceOf(files).Fingerprint()
}

// sourceOf is what a configuration was read from, to be kept. What the
// functions file and env gave is not in it, nor are values of sensitive
// variables: a secret that was changed stays changed, and none is copied.
func sourceOf(files *config.Files) generation.Source {
	s := generation.Source{Vars: map[string]string{}}
	for n, t := range files.Texts() {
		name := "config/" + filepath.Base(t.Path)
		if t.Vars {
			// The file's own name, without the number of an earlier copy.
			base := filepath.Base(t.Path)
			if filepath.Base(filepath.Dir(t.Path)) == "vars" {
				if number, rest, ok := strings.Cut(base, "-"); ok && len(number) == 4 {
					base = rest
				}
			}
			name = fmt.Sprintf("vars/%04d-%s", n, base)
		}
		s.Files = append(s.Files, generation.File{Name: name, Data: t.Text})
	}
	for name, v := range files.Given() {
		if v.Sensitive {
			s.Secrets = append(s.Secrets, name)
		} else {
			s.Vars[name] = v.Value
		}
	}
	slices.Sort(s.Secrets)
	return s
}

// recorded is the source of a generation: its files and variables, in place of
// those of today. Sensitive variables, which are not kept, come from the flags
// and the environment of this process.
func recorded(s config.Source, store *generation.Store, of *generation.Record) config.Source {
	today := s.Vars
	s.Base = s.Dir
	s.Dir = store.ConfigDir(of.Generation)
	s.VarFiles = store.VarFiles(of.Generation)
	s.Vars = maps.Clone(of.Vars)
	if s.Vars == nil {
		s.Vars = map[string]string{}
	}
	secret := func(name string) bool { return slices.Contains(of.Secrets, name) }
	for name, v := range today {
		if secret(name) {
			s.Vars[name] = v
		}
	}
	s.Env = slices.DeleteFunc(slices.Clone(s.Env), func(kv string) bool {
		name, ok := strings.CutPrefix(kv, "HOST_VAR_")
		name, _, _ = strings.Cut(name, "=")
		return ok && !secret(name)
	})
	return s
}

// pinned are the plugins of a generation: the executables that it was committed
// with, where they are still in the plugin directory, else today's.
type pinned struct {
	*catalog.Snapshot
	digests map[string]string
}

// Manifest implements config.Plugins.
func (p pinned) Manifest(name string) (*schema.Manifest, string, bool) {
	for _, e := range p.Entries {
		if e.Manifest != nil && e.Name == name && e.Digest == p.digests[name] && (e.State == catalog.Ready || e.State == catalog.Superseded) {
			return e.Manifest, e.Digest, true
		}
	}
	return p.Snapshot.Manifest(name)
}

// aside remembers for a moment whether the files on disk are what a return left
// aside: a status is asked for more often than files change.
type aside struct {
	mu         sync.Mutex
	generation uint64
	looked     time.Time
	said       string
}

// why says why what serves is not what is on disk, or nothing.
func (a *aside) why(d *daemon) string {
	r, err := d.store.Get(d.applier.Generation())
	if err != nil || r.Disk == "" {
		return ""
	}
	if !a.mu.TryLock() { // one looks, and a file system may take its time
		return ""
	}
	defer a.mu.Unlock()
	if a.generation == r.Generation && time.Since(a.looked) < time.Second {
		return a.said
	}
	a.generation, a.looked, a.said = r.Generation, time.Now(), ""
	if onDisk(d.options.Source) != r.Config {
		a.said = fmt.Sprintf("generation %d is a return to generation %d; the files on disk differ, and host reload applies them", r.Generation, r.From)
	}
	return a.said
}

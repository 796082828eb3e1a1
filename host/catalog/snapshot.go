package catalog

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/pluginhost/host/sdk/schema"
)

// Snapshot is the catalog at one moment. It implements config.Plugins.
type Snapshot struct {
	Entries []Entry // by path
}

// Manifest returns the manifest and digest of the plugin used for name.
func (s *Snapshot) Manifest(name string) (*schema.Manifest, string, bool) {
	for _, e := range s.Entries {
		if e.State == Ready && e.Name == name {
			return e.Manifest, e.Digest, true
		}
	}
	return nil, "", false
}

// Names returns the names of all usable plugins, sorted.
func (s *Snapshot) Names() []string {
	var names []string
	for _, e := range s.Entries {
		if e.State == Ready {
			names = append(names, e.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Rejected returns why an executable called name, by file or by manifest,
// cannot be used, or "".
func (s *Snapshot) Rejected(name string) string {
	for _, e := range s.Entries {
		if (e.State == Rejected || e.State == Pending) && (e.Name == name || stem(e.Path) == name || filepath.Base(e.Path) == name) {
			return e.Path + ": " + e.Reason
		}
	}
	return ""
}

func (s *Snapshot) equal(t *Snapshot) bool { return reflect.DeepEqual(s.Entries, t.Entries) }

// elect lets the newest version of each plugin be the one that is used: the
// highest semantic version, then the newest file, then the first path.
func elect(files []*file) {
	best := map[string]*file{}
	for _, f := range files {
		if f.entry.Manifest == nil {
			continue
		}
		f.entry.State, f.entry.Reason = Ready, ""
		b := best[f.entry.Name]
		if b == nil || f.newer(b) {
			best[f.entry.Name] = f
		}
	}
	for _, f := range files {
		if b := best[f.entry.Name]; f.entry.Manifest != nil && b != f {
			f.entry.State = Superseded
			f.entry.Reason = "version " + b.entry.Version + " in " + filepath.Base(b.entry.Path) + " is used instead"
		}
	}
}

func (f *file) newer(g *file) bool {
	if n := semver.Compare("v"+f.entry.Version, "v"+g.entry.Version); n != 0 {
		return n > 0
	}
	if !f.id.modified.Equal(g.id.modified) {
		return f.id.modified.After(g.id.modified)
	}
	return f.entry.Path < g.entry.Path
}

// stem is a file's name without what follows the first dot.
func stem(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	return name
}

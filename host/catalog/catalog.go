// Package catalog finds plugins: it watches the plugin directory, checks every
// executable, asks those it has not met for their manifest and remembers it by
// digest. It starts no instance and never fails because of a file: what cannot
// be used is listed with the reason.
package catalog

import (
	"context"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/sdk/schema"
)

// State of an entry.
type State string

// States.
const (
	Ready      State = "ready"      // used for its name
	Superseded State = "superseded" // a newer version of the same plugin is used
	Rejected   State = "rejected"   // see Reason
	Pending    State = "pending"    // still being written or described
)

// Options configure a catalog.
type Options struct {
	Dir      string // plugin directory, absolute
	CacheDir string // for manifests, absolute
	// Describe asks an executable for its manifest. Its error is the reason.
	Describe func(ctx context.Context, exe *os.File, path string) (*schema.Manifest, error)
	Deadline time.Duration // of one Describe; 0 means 10 s
	Poll     time.Duration // slow poll for what the watch misses; 0 means 30 s
	Log      hclog.Logger
}

// Entry is one candidate in the plugin directory.
type Entry struct {
	Name     string           `json:"name"` // from the manifest, or the file's name
	Version  string           `json:"version"`
	Digest   string           `json:"digest"` // SHA-256, hex
	Path     string           `json:"path"`
	State    State            `json:"state"`
	Reason   string           `json:"reason"` // when not ready: what is wrong and what mends it
	Manifest *schema.Manifest `json:"manifest,omitempty"`
}

// Catalog is all plugins found.
type Catalog struct{}

// New returns a catalog; nothing is read yet.
func New(o Options) *Catalog { panic("unfinished") }

// Scan reads the directory once and returns when every stable candidate has
// its state. An error means that the directory cannot be used at all.
func (c *Catalog) Scan(ctx context.Context) error { panic("unfinished") }

// Run watches until ctx ends.
func (c *Catalog) Run(ctx context.Context) error { panic("unfinished") }

// Snapshot returns what is known now.
func (c *Catalog) Snapshot() *Snapshot { panic("unfinished") }

// Subscribe returns a channel that gets a value after each change of the
// snapshot (coalesced), until ctx ends.
func (c *Catalog) Subscribe(ctx context.Context) <-chan struct{} { panic("unfinished") }

// Open returns the verified descriptor of the executable with this digest, as
// long as the catalog or an earlier Open holds it: the same inode whose digest
// was taken, checked again for change. The caller closes it.
func (c *Catalog) Open(digest string) (*os.File, error) { panic("unfinished") }

// Snapshot is the catalog at one moment. It implements config.Plugins.
type Snapshot struct {
	Entries []Entry // by path
}

// Manifest returns the manifest and digest of the plugin used for name.
func (s *Snapshot) Manifest(name string) (*schema.Manifest, string, bool) { panic("unfinished") }

// Names returns the names of all usable plugins, sorted.
func (s *Snapshot) Names() []string { panic("unfinished") }

// Rejected returns why an executable called name, by file or by manifest,
// cannot be used, or "".
func (s *Snapshot) Rejected(name string) string { panic("unfinished") }

// Package catalog finds plugins: it watches the plugin directory, checks every
// executable, asks those it has not met for their manifest and remembers it by
// digest. It starts no instance and never fails because of a file: what cannot
// be used is listed with the reason.
package catalog

import (
	"context"
	"fmt"
	"os"
	"sync"
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
	// Describe asks an executable with a digest for its manifest. Its error is
	// the reason.
	Describe func(ctx context.Context, exe *os.File, path, digest string) (*schema.Manifest, error)
	Deadline time.Duration // of one Describe; 0 means 10 s
	// Lock, when not nil, is read at each look; the function that it returns says
	// why an executable with a digest may not be used, or "". It is asked before
	// the executable is.
	Lock func() func(digest string) string
	Poll time.Duration // slow poll for what the watch misses; 0 means 30 s
	Log  hclog.Logger
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
type Catalog struct {
	o     Options
	cache cache

	scanning sync.Mutex // one scan at a time
	// Held by whoever scans.
	files    map[string]*file // by path
	refuse   func(digest string) string
	refusals map[string]string // digest → why Describe failed

	mu       sync.Mutex
	snapshot *Snapshot
	held     map[string]*held // by digest: the verified executables
	watchers map[chan struct{}]bool
}

// New returns a catalog; nothing is read yet.
func New(o Options) *Catalog {
	if o.Deadline == 0 {
		o.Deadline = 10 * time.Second
	}
	if o.Poll == 0 {
		o.Poll = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	return &Catalog{o: o, cache: cache{o.CacheDir}, files: map[string]*file{}, refusals: map[string]string{},
		snapshot: &Snapshot{}, held: map[string]*held{}, watchers: map[chan struct{}]bool{}}
}

// Snapshot returns what is known now.
func (c *Catalog) Snapshot() *Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.snapshot
}

// Subscribe returns a channel that gets a value after each change of the
// snapshot (coalesced), until ctx ends.
func (c *Catalog) Subscribe(ctx context.Context) <-chan struct{} {
	ch := make(chan struct{}, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers[ch] = true
	context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, ch)
	})
	return ch
}

// Open returns the verified descriptor of the executable with this digest: the
// same inode whose digest was taken, checked again for change. The caller
// closes it.
func (c *Catalog) Open(digest string) (*os.File, error) {
	c.mu.Lock()
	h := c.held[digest]
	c.mu.Unlock()
	if h == nil {
		return nil, fmt.Errorf("no executable with digest %.12s is known any more", digest)
	}
	return h.open(digest)
}

// Retain closes the executables that are neither in the plugin directory nor in
// use. The owner of the instances calls it with the digests in use.
func (c *Catalog) Retain(inUse map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	listed := map[string]bool{}
	for _, e := range c.snapshot.Entries {
		listed[e.Digest] = true
	}
	for digest, h := range c.held {
		if !listed[digest] && !inUse[digest] {
			_ = h.f.Close()
			delete(c.held, digest)
		}
	}
}

// keep holds an executable; it takes over f.
func (c *Catalog) keep(digest string, f *os.File, id identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.held[digest]; old != nil {
		_ = old.f.Close()
	}
	c.held[digest] = &held{f: f, id: id}
}

// publish shows a new snapshot and tells the subscribers.
func (c *Catalog) publish(s *Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.snapshot.equal(s) {
		return
	}
	c.snapshot = s
	for ch := range c.watchers {
		select {
		case ch <- struct{}{}:
		default: // one is waiting already
		}
	}
}

package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/mod/semver"

	"github.com/pluginhost/host/sdk/schema"
)

// cacheFormat is the version of the files below; others are ignored.
const cacheFormat = 1

// maxCached is the largest file read, in bytes.
const maxCached = 4 << 20

// cache keeps manifests on disk by digest.
type cache struct{ dir string }

type cached struct {
	Format   int              `json:"format"`
	Digest   string           `json:"digest"`
	Manifest *schema.Manifest `json:"manifest"`
}

func (c cache) path(digest string) string { return filepath.Join(c.dir, digest+".json") }

// read returns the manifest for a digest, or nil. A file that cannot be used is
// as good as none: it is written anew.
func (c cache) read(digest string) *schema.Manifest {
	if st, err := os.Stat(c.path(digest)); err != nil || st.Size() > maxCached {
		return nil
	}
	b, err := os.ReadFile(c.path(digest))
	if err != nil {
		return nil
	}
	m, err := decode(b, digest)
	if err != nil {
		return nil
	}
	return m
}

func decode(b []byte, digest string) (*schema.Manifest, error) {
	var e cached
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, err
	}
	if e.Format != cacheFormat || e.Digest != digest || e.Manifest == nil {
		return nil, errors.New("of another format or digest")
	}
	return e.Manifest, e.Manifest.Validate()
}

func (c cache) write(digest string, m *schema.Manifest) error {
	b, err := json.Marshal(cached{cacheFormat, digest, m})
	if err == nil {
		err = os.MkdirAll(c.dir, 0o700)
	}
	if err == nil {
		err = renameio.WriteFile(c.path(digest), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("manifest cache: %w", err)
	}
	return nil
}

// Cached returns the manifests in a cache directory, of each plugin the newest
// version: all that can be known of plugins whose executables are elsewhere.
func Cached(dir string) map[string]*schema.Manifest {
	newest := map[string]*schema.Manifest{}
	paths, _ := filepath.Glob(filepath.Join(dir, "*.json")) // the pattern is well-formed
	for _, p := range paths[:min(len(paths), maxFiles)] {
		m := cache{dir}.read(strings.TrimSuffix(filepath.Base(p), ".json"))
		if m == nil {
			continue
		}
		if old := newest[m.Name]; old == nil || semver.Compare("v"+m.Version, "v"+old.Version) > 0 {
			newest[m.Name] = m
		}
	}
	return newest
}

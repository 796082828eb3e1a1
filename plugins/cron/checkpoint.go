package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// checkpoint remembers the last tick across restarts.
type checkpoint struct{ path string }

func newCheckpoint(dir string) *checkpoint { return &checkpoint{filepath.Join(dir, "last-tick")} }

// load returns the zero time when there is none.
func (c *checkpoint) load() (time.Time, error) {
	b, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, strings.TrimSpace(string(b)))
}

func (c *checkpoint) save(t time.Time) error {
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(c.path, []byte(t.UTC().Format(time.RFC3339Nano)+"\n"), 0o600)
}

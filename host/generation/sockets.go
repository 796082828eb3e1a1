package generation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// A socket with a path outlives the process that made it. So the paths are
// written down before the sockets are made, and the next start removes those
// that nobody answers on.

func (s *Store) socketsPath() string { return filepath.Join(s.dir, "sockets.json") }

// Sockets writes down the paths of all sockets that there may be from now on.
func (s *Store) Sockets(paths []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(paths)
	paths = slices.Compact(paths)
	if slices.Equal(paths, s.sockets) {
		return nil
	}
	b, err := json.Marshal(paths)
	if err == nil {
		err = renameio.WriteFile(s.socketsPath(), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("paths of sockets: %w", err)
	}
	s.sockets = paths
	return nil
}

// Sweep removes the sockets that an earlier daemon was killed with: remove does
// that for one that nobody answers on, of the network unix or unixgram.
func (s *Store) Sweep(remove func(network, path string) error) error {
	b, err := os.ReadFile(s.socketsPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var paths []string
	if err == nil {
		err = json.Unmarshal(b, &paths)
	}
	if err != nil {
		return fmt.Errorf("paths of sockets: %w", err)
	}
	for _, p := range paths {
		err = errors.Join(err, removeDead(p, remove))
	}
	return errors.Join(err, os.Remove(s.socketsPath()))
}

// removeDead removes a socket that refuses connections: nobody has it any more.
func removeDead(path string, remove func(network, path string) error) error {
	if st, err := os.Lstat(path); err != nil || st.Mode().Type() != fs.ModeSocket {
		return nil //nolint:nilerr // it is gone, or somebody else's by now
	}
	for _, network := range []string{"unix", "unixgram"} {
		c, err := (&net.Dialer{Timeout: time.Second}).Dial(network, path)
		if err == nil {
			return c.Close() // somebody has it
		}
		if errors.Is(err, unix.EPROTOTYPE) { // a socket of the other type
			continue
		}
		if errors.Is(err, unix.ECONNREFUSED) {
			return remove(network, path)
		}
	}
	return nil
}

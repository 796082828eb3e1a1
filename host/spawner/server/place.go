package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
)

// hello takes the directories of the daemon. A later manager must name the same
// ones: by then it may have been taken over by somebody.
func (s *Spawner) hello(h *spawner.Hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !absolute(h.StateDir) || h.PluginDir != "" && !absolute(h.PluginDir) {
		return &spawner.Error{Kind: spawner.Invalid, Message: "the directories of the daemon are absolute paths"}
	}
	if s.state != "" && s.state != h.StateDir || s.plugins != "" && h.PluginDir != "" && s.plugins != h.PluginDir {
		return &spawner.Error{Kind: spawner.Refused, Message: "the directories of the daemon cannot change while the spawner runs: stop it and start it again"}
	}
	if s.state == "" {
		if err := s.stateDir(h.StateDir); err != nil {
			return err
		}
		s.state = h.StateDir
	}
	if s.plugins == "" && h.PluginDir != "" {
		dirs := s.policy.Load().Plugins()
		if len(dirs) == 0 {
			dirs = []string{h.PluginDir}
		}
		for _, dir := range dirs {
			s.checker.From(dir)
		}
		s.plugins = h.PluginDir
	}
	return nil
}

func absolute(path string) bool {
	return filepath.IsAbs(path) && filepath.Clean(path) == path && !strings.ContainsRune(path, 0) && path != "/"
}

// stateDir makes the state directory for the manager's user, as root: whatever
// is missing of its path is made, what is there must be that user's already.
// Other users may pass through it, to what is theirs in it, and see nothing.
func (s *Spawner) stateDir(path string) error {
	if !s.root {
		return os.MkdirAll(filepath.Join(path, "instances"), 0o711)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := s.ownDir(path, s.user, 0o711); err != nil {
		return fmt.Errorf("state directory: %w; chown -R %s %s, or name another with --state-dir or host { state_dir }", err, s.user.Name, path)
	}
	return s.ownDir(filepath.Join(path, "instances"), s.user, 0o711)
}

// ownDir makes a directory that belongs to a user, or checks that it does. One
// of root's that is empty is given to the user: it has just been made. No
// symbolic link is followed at its end.
func (s *Spawner) ownDir(path string, u *User, mode uint32) error {
	if err := unix.Mkdir(path, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Uid != u.UID {
		names, _ := f.Readdirnames(1)
		if st.Uid != 0 || !s.root || len(names) > 0 {
			return fmt.Errorf("%s belongs to user %d, not to %s", path, st.Uid, u.Name)
		}
		if err := f.Chown(int(u.UID), int(u.GID)); err != nil {
			return err
		}
	}
	if st.Mode&0o777 == mode {
		return nil
	}
	return f.Chmod(os.FileMode(mode))
}

// dir makes a private directory for a process of a user: for its home, its
// temporary files and the socket of its control plane. The group is the
// manager's, which connects to that.
func (s *session) dir(name string) (string, error) {
	u, err := s.userOf(name)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	full := len(s.dirs)+len(s.processes) >= s.policy.Load().Processes
	s.last++
	dir := filepath.Join(s.base, strconv.FormatUint(s.last, 36))
	s.mu.Unlock()
	if full {
		return "", s.tooMany()
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if s.root {
		err = os.Chown(dir, int(u.UID), int(s.user.GID))
		if err == nil {
			err = os.Chmod(dir, os.ModeSetgid|0o710)
		}
		if err != nil {
			removeDir(dir)
			return "", err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirs[dir] = u
	return dir, nil
}

func removeDir(dir string) { _ = os.RemoveAll(dir) } // it follows no links

// userOf finds the user for a process and asks the policy.
func (s *Spawner) userOf(name string) (*User, error) {
	if name == "" || name == s.user.Name {
		if err := s.policy.Load().User(s.user.Name); err != nil {
			return nil, err
		}
		return s.user, nil
	}
	u, err := Lookup(name)
	if err != nil {
		return nil, &spawner.Error{Kind: spawner.Missing, Message: err.Error()}
	}
	if err := s.policy.Load().User(u.Name); err != nil {
		return nil, err
	}
	if !s.root && u.UID != s.user.UID {
		return nil, &spawner.Error{Kind: spawner.Denied, Message: fmt.Sprintf("only root can start a process as %s: run host as root", u.Name)}
	}
	return u, nil
}

// Package executable checks what is about to be executed: which directory it
// comes from, who can change it, and that its content is what its digest says,
// from the look at it until it runs. host/spawner/server is its caller.
package executable

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// RefusedError is an executable that is not executed.
type RefusedError struct{ Reason string }

// Rule marks it as a refusal, which a rule demands.
func (e *RefusedError) Rule() {}

// Error returns the reason, and what mends it.
func (e *RefusedError) Error() string { return e.Reason }

func refuse(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }

// origin is a directory that executables may come from.
type origin struct {
	given string // as it was named
	path  string // where that leads
	dev   uint64
}

// Directory checks a directory of executables: that it is one, not reached
// through a symbolic link at its end, and that nobody but root and its owner, who
// must be root or the given user, can put something into it.
func Directory(dir string, owner uint32) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); errors.Is(err, unix.ENOENT) {
		return refuse("the plugin directory %s does not exist: mkdir -p %s, or name another with plugin_dir", dir, dir)
	} else if err != nil {
		return &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return refuse("the plugin directory %s is a symbolic link, which can lead elsewhere at any time: name the directory itself with plugin_dir", dir)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return refuse("%s is not a directory: plugin_dir names the directory that holds the plugins", dir)
	case st.Uid != 0 && st.Uid != owner:
		return refuse("the plugin directory %s belongs to user %d, who could put anything into it: chown root %s", dir, st.Uid, dir)
	case st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0:
		return refuse("the plugin directory can be changed by its group or by others: chmod go-w %s", dir)
	}
	return nil
}

// Checker checks executables. Owner may own them, besides root.
type Checker struct {
	Owner uint32

	mu      sync.Mutex
	origins []origin
	digests map[inode]string // of executables that were hashed
}

// From allows executables of a directory, not of those in it.
func (c *Checker) From(dir string) {
	var st unix.Stat_t
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		err = unix.Stat(real, &st)
	}
	if err != nil {
		real = dir // it may be made later, on the file system of its parent
		_ = unix.Stat(filepath.Dir(dir), &st)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.origins = append(c.origins, origin{dir, real, uint64(st.Dev)}) //nolint:unconvert // the type of Dev differs by machine
}

// inode is one content of one file: its owner cannot set the change time back.
type inode struct {
	dev, ino          uint64
	size              int64
	modified, changed int64 // ns
}

func inodeOf(st *unix.Stat_t) inode {
	return inode{uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()} //nolint:unconvert // the type of Dev differs by machine
}

// maxDigests bounds what is remembered of executables.
const maxDigests = 1024

// Verified is an executable that was looked at. Until Release nobody can begin
// to write into it, where the file system knows leases.
type Verified struct {
	fd     int // of our own: a lease belongs to an open file
	leased bool
	was    inode
}

// Verify checks an executable: where it comes from, who can change it, and that
// its content is what the digest says.
func (c *Checker) Verify(exe int, digest string) (*Verified, error) {
	var st unix.Stat_t
	if err := unix.Fstat(exe, &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", exe))
	if err != nil {
		return nil, err
	}
	// One that was replaced meanwhile may be in use still.
	name := strings.TrimSuffix(path, " (deleted)")
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, refuse("an executable is a regular file; this is %s", path)
	case st.Uid != 0 && st.Uid != c.Owner:
		return nil, refuse("%s belongs to user %d, who could change it: chown root %s", name, st.Uid, name)
	case st.Mode&0o022 != 0:
		return nil, refuse("%s can be changed by its group or by others: chmod go-w %s", name, name)
	}
	c.mu.Lock()
	origins := c.origins
	c.mu.Unlock()
	from := false
	for _, o := range origins {
		// The device too: whoever can mount may show any path.
		if filepath.Dir(name) != o.path || uint64(st.Dev) != o.dev { //nolint:unconvert // as above
			continue
		}
		if err := Directory(o.given, c.Owner); err != nil {
			return nil, err
		}
		from = true
	}
	if !from {
		return nil, refuse("%s is not in a directory that executables may come from (the daemon's plugin_dir, or plugins in the spawner's policy)", name)
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", exe), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	v := &Verified{fd: fd}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); err == nil {
		v.leased = true
	} else if errors.Is(err, unix.EAGAIN) {
		v.Release()
		return nil, refuse("%s is open for writing: replace plugins with mv, not by writing into them", name)
	}
	if err := unix.Fstat(fd, &st); err != nil {
		v.Release()
		return nil, os.NewSyscallError("fstat", err)
	}
	v.was = inodeOf(&st)
	if digest == "" {
		return v, nil
	}
	got, err := c.digestOf(v)
	if err == nil && got != digest {
		err = refuse("%s has the digest %.12s, not %.12s as when it was checked: replace plugins with mv, not by writing into them", name, got, digest)
	}
	if err != nil {
		v.Release()
		return nil, err
	}
	return v, nil
}

// digestOf returns the SHA-256 of an executable.
func (c *Checker) digestOf(v *Verified) (string, error) {
	c.mu.Lock()
	known := c.digests[v.was]
	c.mu.Unlock()
	if known != "" {
		return known, nil
	}
	h := sha256.New()
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", v.fd))
	if err == nil {
		_, err = io.Copy(h, f)
		_ = f.Close()
	}
	if err != nil {
		return "", err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	// Clocks of file systems are coarse: what changed just now could change
	// again within the same time.
	if time.Since(time.Unix(0, v.was.changed)) > time.Second {
		c.mu.Lock()
		if c.digests == nil || len(c.digests) >= maxDigests {
			c.digests = map[inode]string{}
		}
		c.digests[v.was] = sum
		c.mu.Unlock()
	}
	return sum, nil
}

// Unchanged reports whether the content is still what was verified.
func (v *Verified) Unchanged() bool {
	var st unix.Stat_t
	if unix.Fstat(v.fd, &st) != nil {
		return false
	}
	now := inodeOf(&st)
	if now.changed != v.was.changed && now.modified == v.was.modified && now.size == v.was.size && v.leased {
		return true // renamed or linked: nobody could write
	}
	return now == v.was
}

// Release lets writers in again.
func (v *Verified) Release() {
	if v.leased {
		_, _ = unix.FcntlInt(uintptr(v.fd), unix.F_SETLEASE, unix.F_UNLCK)
	}
	_ = unix.Close(v.fd)
}

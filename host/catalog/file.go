package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxSize is the largest executable that is looked at, in bytes.
const maxSize = 1 << 30

// file is what is known of one path.
type file struct {
	id    identity
	entry Entry
	tried time.Time // when Describe failed
	// locked is why the lock refuses it.
	locked string
}

// identity tells whether a file is still what it was. The change time cannot
// be set back by its owner, so that equal identities are equal contents.
type identity struct {
	dev, inode uint64
	size       int64
	mode       uint32
	uid        uint32
	modified   time.Time
	changed    time.Time
}

func identify(st *unix.Stat_t) identity {
	return identity{dev: st.Dev, inode: st.Ino, size: st.Size, mode: st.Mode, uid: st.Uid,
		modified: time.Unix(st.Mtim.Unix()), changed: time.Unix(st.Ctim.Unix())}
}

// age is how long ago the file was last written or changed.
func (id identity) age() time.Duration {
	return time.Since(id.changed)
}

// lookAt opens a path without waiting for anybody and without side effects: a
// FIFO or device is only looked at. f is nil unless it is a regular file.
func lookAt(path string) (f *os.File, id identity, err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, id, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, id, os.NewSyscallError("fstat", err)
	}
	id = identify(&st)
	if id.mode&unix.S_IFMT != unix.S_IFREG {
		return nil, id, nil
	}
	// The same inode, whatever the path leads to by now.
	f, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	return f, id, err
}

// refuse says why a file cannot be a plugin whatever is in it, and what mends
// that, or "".
func refuse(path string, id identity) string {
	switch id.mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return "is a directory: put executables into the plugin directory itself"
	case unix.S_IFIFO:
		return "is a FIFO, not a regular file: remove it"
	case unix.S_IFSOCK:
		return "is a socket, not a regular file: remove it"
	default:
		return "is a device, not a regular file: remove it"
	}
	switch {
	case id.size == 0:
		return "is empty: copy the plugin again"
	case id.size > maxSize:
		return fmt.Sprintf("has %d bytes; a plugin has at most %d", id.size, maxSize)
	case id.uid != 0 && int(id.uid) != os.Geteuid():
		return fmt.Sprintf("belongs to user %d, who could change it at any time: chown root %s", id.uid, path)
	case id.mode&0o022 != 0:
		return fmt.Sprintf("can be changed by its group or by others (mode %04o): chmod go-w %s", id.mode&0o7777, path)
	case id.mode&0o111 == 0:
		return "is not executable: chmod +x " + path
	}
	return ""
}

// digest hashes a file's content.
func digest(f *os.File) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, maxSize+1)); err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// held is a verified executable.
type held struct {
	f  *os.File
	id identity
}

var errChanged = errors.New("the executable was changed in place after it was checked; replace plugins with mv, not by writing into them")

// open returns another descriptor of the same inode, after a look whether its
// content is still what was verified.
func (h *held) open(want string) (*os.File, error) {
	raw, err := h.f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var st unix.Stat_t
	var ferr error
	if err := raw.Control(func(n uintptr) {
		if ferr = unix.Fstat(int(n), &st); ferr == nil {
			fd, ferr = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 3)
		}
	}); err != nil {
		return nil, err
	}
	if ferr != nil {
		return nil, os.NewSyscallError("fstat", ferr)
	}
	f := os.NewFile(uintptr(fd), h.f.Name())
	if now := identify(&st); now.size != h.id.size || !now.modified.Equal(h.id.modified) || !now.changed.Equal(h.id.changed) {
		// A rename or chmod changes the inode too: only the content counts.
		got, err := digest(f)
		if err == nil && got != want {
			err = errChanged
		}
		if err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	return f, nil
}

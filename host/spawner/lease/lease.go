// Package lease makes the sockets and files that the spawner keeps for others,
// changes what can be changed while they serve, and ends them. It asks no
// policy: host/spawner/server, its caller, has done that.
package lease

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
)

// nowhere is the index of a network device that does not exist. A socket bound
// to it is found by no packet, while the connections in its queue, and those
// whose handshake has begun, stay.
const nowhere = 1<<31 - 1

// Lease is a descriptor that is kept. It is a plain number: os.File.Fd would
// clear O_NONBLOCK for everybody who shares the socket.
type Lease struct {
	fd       int
	socket   bool
	stream   bool
	listens  bool
	mute     bool // a UDP socket connected to itself
	retired  bool
	own      bool // SO_REUSEPORT was asked for
	settings spawner.Settings
	over     []*Lease    // whom it takes over from, until it is set
	heirs    []*Lease    // who share their port again when this one is closed
	path     string      // of a unix socket
	file     fs.FileInfo // that path, when it was bound
}

// Close ends the lease, and removes the path of a unix socket.
func (l *Lease) Close() {
	_ = unix.Close(l.fd)
	l.fd = -1 // others may still know it
	l.unlink()
	l.alone() // had it not been set, the others go on as they were
	for _, h := range l.heirs {
		_ = unix.SetsockoptInt(h.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) // it may be closed
	}
}

// unlink removes the path of a unix socket, unless it is somebody else's by
// now.
func (l *Lease) unlink() {
	if l.path == "" || l.file == nil {
		return
	}
	if !l.Lost() {
		_ = os.Remove(l.path)
	}
	l.path = ""
}

// Lost reports whether the path of a unix socket is gone or somebody else's by
// now: nobody can connect to it any more.
func (l *Lease) Lost() bool {
	if l.path == "" || l.file == nil {
		return false
	}
	now, err := os.Lstat(l.path)
	return err != nil || !os.SameFile(now, l.file)
}

// alone takes SO_REUSEPORT back where it was for the change only.
func (l *Lease) alone() {
	for _, o := range l.over {
		if !o.own && !o.retired {
			_ = unix.SetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 0) // it may be closed
		}
	}
	l.over = nil
}

// Set puts settings in force on the live socket. A stream socket listens from
// the first set on.
func (l *Lease) Set(s spawner.Settings) error {
	if !l.socket {
		return &spawner.Error{Kind: spawner.Invalid, Message: "a file has no settings"}
	}
	if l.retired {
		return &spawner.Error{Kind: spawner.Invalid, Message: "the lease is retired"}
	}
	if err := l.buffers(s); err != nil {
		return err
	}
	if l.path != "" {
		if err := l.permit(s); err != nil {
			return err
		}
	}
	switch {
	case l.stream:
		if l.path == "" {
			if err := keepAlive(l.fd, s.KeepAlive); err != nil {
				return err
			}
		}
		if err := l.listen(s.Backlog); err != nil {
			return err
		}
	case l.mute:
		if err := disconnect(l.fd); err != nil {
			return err
		}
		l.mute = false
	}
	l.settings = s
	if len(l.over) > 0 {
		// Among sockets with SO_REUSEPORT and one address the kernel chooses by
		// a hash, and would choose one that is retired.
		_ = unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 0) // it was set by bind
	}
	if l.own {
		for _, o := range l.over {
			o.heirs = append(o.heirs, l)
		}
	}
	l.over = nil
	return nil
}

// listen begins to listen, or changes how many connections may wait. The
// kernel takes less than asked where net.core.somaxconn says so.
func (l *Lease) listen(backlog int) error {
	if backlog <= 0 {
		backlog = unix.SOMAXCONN * 16
	}
	if !l.listens && l.path == "" {
		// So that the connections of this socket do not keep a later one from
		// their port.
		if err := unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Listen(l.fd, backlog); err != nil {
		return os.NewSyscallError("listen", err)
	}
	l.listens = true
	return nil
}

// buffers sets the sizes of the buffers. The kernel doubles what it is given,
// and gives less without a word.
func (l *Lease) buffers(s spawner.Settings) error {
	for _, b := range []struct {
		size         int
		force, plain int
		name, sysctl string
	}{
		{s.ReceiveBuffer, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, "receive", "net.core.rmem_max"},
		{s.SendBuffer, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, "send", "net.core.wmem_max"},
	} {
		if b.size <= 0 {
			continue
		}
		if unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, b.force, b.size) == nil {
			continue
		}
		if err := unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, b.plain, b.size); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		if got, err := unix.GetsockoptInt(l.fd, unix.SOL_SOCKET, b.plain); err == nil && got/2 < b.size {
			return &spawner.Error{Kind: spawner.Limit, Message: fmt.Sprintf(
				"a %s buffer of %d bytes is more than the %d that this user may have: ask for less, or raise %s", b.name, b.size, got/2, b.sysctl)}
		}
	}
	return nil
}

// permit sets mode and owner of a unix socket's file.
func (l *Lease) permit(s spawner.Settings) error {
	if s.UID >= 0 || s.GID >= 0 {
		if err := os.Lchown(l.path, s.UID, s.GID); err != nil {
			return err
		}
	}
	return os.Chmod(l.path, fs.FileMode(s.Mode&0o777))
}

// keepAlive is inherited by the connections that are accepted.
func keepAlive(fd, seconds int) error {
	on := 0
	if seconds > 0 {
		on = 1
		for _, name := range []int{unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL} {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, name, seconds); err != nil {
				return fmt.Errorf("set keepalive: %w", err)
			}
		}
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, on))
}

// disconnect makes a UDP socket get datagrams from everybody again. It keeps
// the address that it was bound to.
func disconnect(fd int) error {
	none := unix.RawSockaddr{Family: unix.AF_UNSPEC}                                                                // unix.Connect knows no such address
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none)) //nolint:gosec // the system call takes a pointer
	if errno != 0 {
		return os.NewSyscallError("connect", errno)
	}
	return nil
}

// Retire lets nothing new arrive, and reports whether something still waits in
// the queue for those who hold the socket.
func (l *Lease) Retire() (waiting bool) {
	if !l.retired {
		l.retired = true
		switch {
		case l.path != "":
			l.unlink()
		case l.socket:
			// Where it is not permitted, for a socket bound to a device, what
			// arrives goes on to be served until the end of the lease.
			_ = unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, nowhere)
		}
	}
	if !l.socket {
		return false
	}
	poll := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0 && poll[0].Revents&unix.POLLIN != 0
}

// FD is the descriptor's number, valid until Close.
func (l *Lease) FD() int { return l.fd }

// IsSocket tells a socket from a file.
func (l *Lease) IsSocket() bool { return l.socket }

// Retired reports whether nothing new arrives any more.
func (l *Lease) Retired() bool { return l.retired }

// Open opens a file. plain refuses a path that leads through a symbolic link:
// with the spawner's own rights it could lead anywhere.
func Open(o *spawner.Open, plain bool) (*Lease, error) {
	if !filepath.IsAbs(o.Path) || strings.ContainsRune(o.Path, 0) {
		return nil, &spawner.Error{Kind: spawner.Invalid, Message: "the path of a file must be absolute: " + o.Path}
	}
	flags, ok := map[string]int{
		"read":      unix.O_RDONLY,
		"append":    unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT,
		"write":     unix.O_RDWR | unix.O_CREAT,
		"directory": unix.O_RDONLY | unix.O_DIRECTORY,
	}[o.Access]
	if !ok {
		return nil, &spawner.Error{Kind: spawner.Invalid, Message: fmt.Sprintf("unknown access %q", o.Access)}
	}
	// O_NONBLOCK: a FIFO must not hold the spawner.
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC | unix.O_NOCTTY | unix.O_NONBLOCK)}
	if flags&unix.O_CREAT != 0 {
		how.Mode = 0o640
	}
	if plain {
		how.Resolve = unix.RESOLVE_NO_SYMLINKS
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, o.Path, &how)
	if err != nil {
		if errors.Is(err, unix.ENXIO) {
			return nil, &spawner.Error{Kind: spawner.Failed, Message: o.Path + " is a FIFO that nobody reads, or a socket: it cannot be opened for writing"}
		}
		return nil, &os.PathError{Op: "open", Path: o.Path, Err: err}
	}
	return &Lease{fd: fd}, nil
}

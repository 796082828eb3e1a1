package spawner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lease is a descriptor that is kept. It is a plain number: os.File.Fd would
// clear O_NONBLOCK for everybody who shares the socket.
type lease struct {
	fd     int
	unlink string // socket file to remove at the end
}

func (l *lease) close() {
	_ = unix.Close(l.fd)
	if l.unlink != "" {
		_ = os.Remove(l.unlink)
	}
}

// bind makes a socket, listening where its type can.
func bind(b *Bind) (*lease, string, error) {
	// One protocol for all: MPTCP and TCP sockets are different sockets.
	config := net.ListenConfig{}
	config.SetMultipathTCP(false)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	switch b.Network {
	case "tcp", "tcp4", "tcp6":
		l, err := config.Listen(ctx, b.Network, b.Address)
		if err != nil {
			return nil, "", err
		}
		defer func() { _ = l.Close() }()
		return take(l.(*net.TCPListener), "", l.Addr().String())
	case "udp", "udp4", "udp6":
		c, err := config.ListenPacket(ctx, b.Network, b.Address)
		if err != nil {
			return nil, "", err
		}
		defer func() { _ = c.Close() }()
		return take(c.(*net.UDPConn), "", c.LocalAddr().String())
	case "unix", "unixgram":
		return bindUnix(b)
	}
	return nil, "", &Error{Kind: Invalid, Message: "unknown network " + b.Network}
}

func bindUnix(b *Bind) (*lease, string, error) {
	if !filepath.IsAbs(b.Address) {
		return nil, "", &Error{Kind: Invalid, Message: "the path of a unix socket must be absolute: " + b.Address}
	}
	if err := removeStale(b.Network, b.Address); err != nil {
		return nil, "", err
	}
	if b.Network == "unixgram" {
		c, err := net.ListenUnixgram(b.Network, &net.UnixAddr{Name: b.Address, Net: b.Network})
		if err != nil {
			return nil, "", err
		}
		defer func() { _ = c.Close() }()
		return restrict(take(c, b.Address, b.Address))
	}
	l, err := net.ListenUnix(b.Network, &net.UnixAddr{Name: b.Address, Net: b.Network})
	if err != nil {
		return nil, "", err
	}
	l.SetUnlinkOnClose(false) // the lease's own descriptor goes on
	defer func() { _ = l.Close() }()
	return restrict(take(l, b.Address, b.Address))
}

// restrict lets user and group connect.
func restrict(l *lease, address string, err error) (*lease, string, error) {
	if err != nil {
		return nil, "", err
	}
	if err := os.Chmod(address, 0o660); err != nil {
		l.close()
		return nil, "", err
	}
	return l, address, nil
}

// removeStale removes a socket file that nobody answers on any more.
func removeStale(network, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return &Error{Kind: Busy, Message: path + " exists and is not a socket: remove it or choose another path"}
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(context.Background(), network, path)
	if err == nil {
		_ = c.Close()
		return &Error{Kind: Busy, Message: "another process answers on " + path}
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// take duplicates the descriptor of a socket, which the caller then closes.
func take(c syscall.Conn, unlink, address string) (*lease, string, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, "", err
	}
	l := &lease{unlink: unlink}
	var dup error
	if err := raw.Control(func(fd uintptr) {
		l.fd, dup = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3)
	}); err != nil {
		return nil, "", err
	}
	return l, address, os.NewSyscallError("fcntl", dup)
}

// open opens a file.
func open(o *Open) (*lease, error) {
	if !filepath.IsAbs(o.Path) || strings.ContainsRune(o.Path, 0) {
		return nil, &Error{Kind: Invalid, Message: "the path of a file must be absolute: " + o.Path}
	}
	flags, ok := map[string]int{
		"read":      unix.O_RDONLY,
		"append":    unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT,
		"write":     unix.O_RDWR | unix.O_CREAT,
		"directory": unix.O_RDONLY | unix.O_DIRECTORY,
	}[o.Access]
	if !ok {
		return nil, &Error{Kind: Invalid, Message: fmt.Sprintf("unknown access %q", o.Access)}
	}
	// O_NONBLOCK: a FIFO must not hold the spawner.
	fd, err := unix.Open(o.Path, flags|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: o.Path, Err: err}
	}
	return &lease{fd: fd}, nil
}

package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is the length of a unix socket's path that every system call takes.
const maxPath = 107

// Listen makes the socket in its private directory. It refuses a directory that
// is not private, and one that another daemon holds; a socket that was left
// behind is replaced.
func (s *Server) Listen(path string) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("control socket: %w; host { state_dir } or --state-dir names another place", err)
	}
	if err := private(dir); err != nil {
		return err
	}
	if len(path) > maxPath {
		return fmt.Errorf("the path of the control socket has %d bytes, at most %d are possible: %s; choose a shorter state_dir", len(path), maxPath, path)
	}
	// The lock says who may replace the socket: of two daemons that start at
	// once, one could take the other's new socket for a leftover.
	lock, err := hold(dir, path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()
	if err := removeStale(path); err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return fmt.Errorf("control socket: %w", err)
	}
	s.listener, s.path, s.lock = &checked{UnixListener: l, server: s}, path, lock
	return nil
}

// hold locks the directory for the life of the daemon.
func hold(dir, path string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s uses this state directory, with the control socket %s: stop it, or choose another --state-dir", holder(path), path)
	}
	return nil, fmt.Errorf("control socket: lock %s: %w", dir, err)
}

// holder names the daemon behind a socket, as far as it can be known.
func holder(path string) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return "another daemon"
	}
	defer func() { _ = c.Close() }()
	if cred, err := peer(c.(*net.UnixConn)); err == nil {
		return fmt.Sprintf("another daemon (pid %d)", cred.Pid)
	}
	return "another daemon"
}

// Close removes the socket of a server that does not run.
func (s *Server) Close() error {
	if s.listener == nil {
		return nil
	}
	return errors.Join(s.listener.Close(), s.lock.Close())
}

// private checks that only the daemon's user, or root, can reach into dir.
func private(dir string) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	uid := st.Sys().(*syscall.Stat_t).Uid
	switch {
	case st.Mode()&os.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link; the control socket needs a directory of its own", dir)
	case int(uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, not to the daemon's user %d", dir, uid, os.Geteuid())
	case st.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is open to others (mode %04o): chmod 700 %s", dir, st.Mode().Perm(), dir)
	}
	return nil
}

// removeStale removes what a daemon left that did not end by itself. The lock
// is held: nobody listens on it.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if st.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is in the way of the control socket and is not a socket: remove it", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// checked accepts connections of the daemon's own user and of root only.
type checked struct {
	*net.UnixListener
	server *Server
}

// Accept implements net.Listener.
func (l *checked) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		cred, err := peer(c)
		if err == nil && allowed(cred) {
			return &known{c, cred.Uid}, nil
		}
		if err != nil {
			l.server.log.Warn("a connection of nobody known was refused", "error", err)
		} else {
			l.server.log.Warn("a connection of another user was refused", "uid", cred.Uid, "pid", cred.Pid)
		}
		_ = c.Close()
	}
}

// allowed reports whether a user may ask: the daemon's own, and root.
func allowed(c *unix.Ucred) bool { return c.Uid == 0 || int(c.Uid) == os.Geteuid() }

// known is a connection of which the user at the other end is known.
type known struct {
	*net.UnixConn
	uid uint32
}

type peerKey struct{}

// withPeer lets a call know who makes it.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if k, ok := c.(*known); ok {
		return context.WithValue(ctx, peerKey{}, k.uid)
	}
	return ctx
}

// Peer returns the user who makes the call of ctx.
func Peer(ctx context.Context) (uid uint32, ok bool) {
	uid, ok = ctx.Value(peerKey{}).(uint32)
	return uid, ok
}

// peer returns who is at the other end. The pid may have been reused since.
func peer(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return nil, err
	}
	return cred, cerr
}

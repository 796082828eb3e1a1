package lease

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
)

// Bind makes a socket that nobody else can have from then on, and that gets
// nothing yet: a stream socket listens from its first set. over are the leases
// whose addresses overlap, which this one is to take over from.
func Bind(b *spawner.Bind, over []*Lease) (*Lease, string, error) {
	switch b.Network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		return bindPort(b, over)
	case "unix", "unixgram":
		return bindPath(b)
	}
	return nil, "", &spawner.Error{Kind: spawner.Invalid, Message: "unknown network " + b.Network}
}

// bindPort binds a TCP or UDP socket. MPTCP is never used: its sockets are
// others than those of TCP.
func bindPort(b *spawner.Bind, over []*Lease) (_ *Lease, _ string, err error) {
	at, err := netip.ParseAddrPort(b.Address)
	if err != nil {
		return nil, "", &spawner.Error{Kind: spawner.Invalid, Message: "not an address and a port: " + b.Address}
	}
	l := &Lease{socket: true, stream: b.Network[:3] == "tcp", own: b.ReusePort, over: over, settings: b.Settings}
	kind, proto := unix.SOCK_DGRAM, unix.IPPROTO_UDP
	if l.stream {
		kind, proto = unix.SOCK_STREAM, unix.IPPROTO_TCP
	}
	family := unix.AF_INET6
	if at.Addr().Is4() {
		family = unix.AF_INET
	}
	l.fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if errors.Is(err, unix.EAFNOSUPPORT) && len(b.Network) == 3 { // both families were asked for; there is one
		family, at = unix.AF_INET, netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
		l.fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	}
	if err != nil {
		return nil, "", os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if err := options(l.fd, family, b); err != nil {
		return nil, "", err
	}
	if err := l.buffers(b.Settings); err != nil {
		return nil, "", err
	}
	to, err := sockaddr(at)
	if err != nil {
		return nil, "", err
	}
	if err := l.claim(to); err != nil {
		return nil, "", os.NewSyscallError("bind "+b.Address, err)
	}
	got, err := unix.Getsockname(l.fd)
	if err != nil {
		return nil, "", os.NewSyscallError("getsockname", err)
	}
	if !l.stream && len(over) > 0 && at.Port() != 0 { // the kernel takes back a port that it chose
		// Connected to itself it gets nothing from others, so that they keep
		// on reaching the socket that serves until this one is set.
		l.mute = unix.Connect(l.fd, got) == nil
	}
	return l, name(got, at), nil
}

// options sets what makes a socket another one.
func options(fd, family int, b *spawner.Bind) error {
	type option struct {
		on                 bool
		level, name, value int
		text               string
	}
	v6only := 1
	if len(b.Network) == 3 {
		v6only = 0
	}
	for _, o := range []option{
		{family == unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v6only, "v6only"},
		{b.FreeBind && family == unix.AF_INET, unix.IPPROTO_IP, unix.IP_FREEBIND, 1, "freebind"},
		{b.FreeBind && family == unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1, "freebind"},
		{b.Transparent && family == unix.AF_INET, unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1, "transparent"},
		{b.Transparent && family == unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT, 1, "transparent"},
		{b.ReusePort, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1, "reuseport"},
	} {
		if !o.on {
			continue
		}
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("set %s: %w", o.text, err)
		}
	}
	if b.Device != "" {
		if err := unix.BindToDevice(fd, b.Device); err != nil {
			if errors.Is(err, unix.ENODEV) {
				return &spawner.Error{Kind: spawner.NotLocal, Message: "there is no network device " + b.Device}
			}
			return fmt.Errorf("set device: %w", err)
		}
	}
	return nil
}

// claim binds. A socket with SO_REUSEADDR that does not listen is not alone on
// its port, so that it is bound without where that is possible, and listens at
// once where it is not: when connections of an earlier socket still linger.
// Where it takes over from sockets that listen, the kernel wants SO_REUSEPORT on
// both, and on those first.
func (l *Lease) claim(to unix.Sockaddr) error {
	for _, o := range l.over {
		_ = unix.SetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) // bind says whether it did
	}
	if len(l.over) > 0 {
		if err := unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return err
		}
		if l.stream {
			if err := unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
				return err
			}
		}
		return unix.Bind(l.fd, to)
	}
	err := unix.Bind(l.fd, to)
	if !errors.Is(err, unix.EADDRINUSE) || !l.stream {
		return err
	}
	if err := unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(l.fd, to); err != nil {
		return err
	}
	return l.listen(l.settings.Backlog)
}

// bindPath binds a unix socket. Its file has its mode before anybody can
// connect.
func bindPath(b *spawner.Bind) (_ *Lease, _ string, err error) {
	if !filepath.IsAbs(b.Address) {
		return nil, "", &spawner.Error{Kind: spawner.Invalid, Message: "the path of a unix socket must be absolute: " + b.Address}
	}
	if err := removeStale(b.Network, b.Address); err != nil {
		return nil, "", err
	}
	l := &Lease{socket: true, stream: b.Network == "unix", settings: b.Settings}
	kind := unix.SOCK_DGRAM
	if l.stream {
		kind = unix.SOCK_STREAM
	}
	if l.fd, err = unix.Socket(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, "", os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	// The file is made with the mode of the socket, less the umask.
	if err := unix.Fchmod(l.fd, 0o600); err != nil {
		return nil, "", os.NewSyscallError("fchmod", err)
	}
	if err := unix.Bind(l.fd, &unix.SockaddrUnix{Name: b.Address}); err != nil {
		return nil, "", os.NewSyscallError("bind "+b.Address, err)
	}
	l.path = b.Address
	if l.file, err = os.Lstat(b.Address); err != nil {
		return nil, "", err
	}
	if err := l.buffers(b.Settings); err != nil {
		return nil, "", err
	}
	return l, b.Address, l.permit(b.Settings)
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
		return &spawner.Error{Kind: spawner.Busy, Message: path + " exists and is not a socket: remove it or choose another path"}
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.Dial(network, path)
	if err == nil {
		_ = c.Close()
	}
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(path)
	case err == nil, errors.Is(err, unix.EPROTOTYPE), errors.Is(err, unix.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded):
		// It answers, or it is of the other type, or its queue is full.
		return &spawner.Error{Kind: spawner.Busy, Message: "another process answers on " + path}
	}
	return err
}

func sockaddr(at netip.AddrPort) (unix.Sockaddr, error) {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}, nil
	}
	s := &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	if zone := at.Addr().Zone(); zone != "" {
		index, err := strconv.ParseUint(zone, 10, 31)
		if err != nil {
			device, err := net.InterfaceByName(zone)
			if err != nil {
				return nil, &spawner.Error{Kind: spawner.NotLocal, Message: "there is no network device " + zone}
			}
			index = uint64(device.Index)
		}
		s.ZoneId = uint32(index)
	}
	return s, nil
}

// name is the address that was really bound.
func name(got unix.Sockaddr, asked netip.AddrPort) string {
	port := asked.Port()
	switch s := got.(type) {
	case *unix.SockaddrInet4:
		port = uint16(s.Port)
	case *unix.SockaddrInet6:
		port = uint16(s.Port)
	}
	return netip.AddrPortFrom(asked.Addr(), port).String()
}

// Package address reads what an instance listens on: scheme://address?options.
// It is pure: it asks neither the machine nor the spawner, so that a
// configuration can be checked and compared without them. host/config and
// host/resource call it.
package address

import (
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// maxPath is how long the path of a unix socket may be, in bytes.
const maxPath = 107

// Address is a socket to listen on. All but Settings say which socket it is;
// Settings can be changed while it serves.
type Address struct {
	Network string         // tcp, udp, unix or unixgram
	Addr    netip.AddrPort // of tcp and udp
	Dual    bool           // Addr is [::] and IPv4 comes to it too
	Path    string         // of unix and unixgram, absolute unless written otherwise

	Device      string // only what comes in by this network device
	FreeBind    bool   // the address need not be one of this machine yet
	Transparent bool   // nor ever
	ReusePort   bool   // other processes of the same user may have it too

	Settings Settings
}

// Settings are what can be changed in place.
type Settings struct {
	Backlog       int           // connections that may wait; 0 for what the kernel allows
	Mode          uint32        // permissions of a unix socket's file
	Owner, Group  string        // of that file, names or numbers; empty for the daemon's
	ReceiveBuffer int           // bytes; 0 for the kernel's default
	SendBuffer    int           // bytes
	KeepAlive     time.Duration // silence before TCP asks for a sign of life; 0 for never
}

// Defaults of the settings.
const (
	DefaultMode      = 0o660 // user and group may connect
	DefaultKeepAlive = 15 * time.Second
)

// Parse reads scheme://address?options. The error says what is wrong and shows
// what is right; it is an *OptionError where an option is not known.
func Parse(s string) (Address, error) {
	var a Address
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme == "" {
		return a, fmt.Errorf("%q is not an address to listen on, such as tcp://127.0.0.1:8080 or unix:///run/name.sock", s)
	}
	rest, query, _ := strings.Cut(rest, "?")
	family := ""
	switch scheme {
	case "unix", "unixgram":
		a.Network = scheme
		if rest == "" || strings.ContainsRune(rest, 0) {
			return a, fmt.Errorf("%q has no path: write %s:///run/name.sock", s, scheme)
		}
		a.Path = filepath.Clean(rest)
		if len(a.Path) > maxPath {
			return a, fmt.Errorf("the path of a unix socket has at most %d bytes; %s has %d", maxPath, a.Path, len(a.Path))
		}
		a.Settings.Mode = DefaultMode
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		a.Network, family = scheme[:3], scheme[3:]
		at, err := addrPort(rest, family)
		if err != nil {
			return a, fmt.Errorf("%q: %w", s, err)
		}
		a.Addr = at
		a.Dual = strings.HasPrefix(rest, ":") && family == ""
		if a.Network == "tcp" {
			a.Settings.KeepAlive = DefaultKeepAlive
		}
	default:
		return a, fmt.Errorf("%q: there is no scheme %q: there are tcp, udp, unix and unixgram", s, scheme)
	}
	if err := a.options(query, family); err != nil {
		return a, err
	}
	return a, nil
}

// addrPort reads host:port, where host is an IP address, localhost or empty.
// Other names are refused: they can mean another address at each look, and an
// address that changes is another socket.
func addrPort(s, family string) (netip.AddrPort, error) {
	n := strings.LastIndexByte(s, ':')
	if n >= 0 {
		host, port := s[:n], s[n+1:]
		switch host {
		case "":
			host = "[::]"
			if family == "4" {
				host = "0.0.0.0"
			}
		case "localhost":
			host = "127.0.0.1"
			if family == "6" {
				host = "[::1]"
			}
		}
		s = host + ":" + port
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil {
		return at, fmt.Errorf("write an IP address and a port, for example 127.0.0.1:8080 or [::1]:8080; names other than localhost are not looked up")
	}
	ip := at.Addr().Unmap()
	if family == "4" && !ip.Is4() || family == "6" && ip.Is4() {
		return at, fmt.Errorf("%s is not an IPv%s address", ip, family)
	}
	// The kernel heeds a zone only where an address needs one.
	if !ip.IsLinkLocalUnicast() && !ip.IsLinkLocalMulticast() && !ip.IsInterfaceLocalMulticast() {
		ip = ip.WithZone("")
	}
	return netip.AddrPortFrom(ip, at.Port()), nil
}

// IsPath reports whether it is a unix socket.
func (a Address) IsPath() bool { return a.Path != "" }

// AnyPort reports whether the kernel chooses the port.
func (a Address) AnyPort() bool { return !a.IsPath() && a.Addr.Port() == 0 }

// Key is the canonical form of what says which socket it is. Two addresses with
// one key are the same socket, but for :0, which is another for everybody.
func (a Address) Key() string {
	if a.IsPath() {
		return a.Network + " " + a.Path
	}
	key := a.Network + " " + a.Addr.String()
	for _, x := range []struct {
		on   bool
		text string
	}{
		{a.Dual, " dual"}, {a.Device != "", " device=" + a.Device}, {a.FreeBind, " freebind"},
		{a.Transparent, " transparent"}, {a.ReusePort, " reuseport"},
	} {
		if x.on {
			key += x.text
		}
	}
	return key
}

// Identity is the address as the plugin sees it: without what can be changed in
// place.
func (a Address) Identity() string {
	if a.IsPath() {
		return a.Network + "://" + a.Path
	}
	s := a.Network + "://" + a.Addr.String()
	sep := "?"
	for _, x := range []struct {
		on   bool
		text string
	}{
		{a.Dual, "v6only=0"}, {a.Device != "", "device=" + url.QueryEscape(a.Device)}, {a.FreeBind, "freebind=1"},
		{a.Transparent, "transparent=1"}, {a.ReusePort, "reuseport=1"},
	} {
		if x.on {
			s += sep + x.text
			sep = "&"
		}
	}
	return s
}

// Place is what two addresses must have in common to collide: the protocol and
// the port, or the path. It is empty for :0, which never does.
func (a Address) Place() string {
	switch {
	case a.IsPath():
		return a.Path
	case a.AnyPort():
		return ""
	}
	return fmt.Sprintf("%s %d", a.Network, a.Addr.Port())
}

// Collides reports whether the kernel refuses to give both to two owners, as
// with 0.0.0.0:80 and 127.0.0.1:80.
func (a Address) Collides(b Address) bool {
	place := a.Place()
	switch {
	case place == "" || place != b.Place():
		return false
	case a.IsPath():
		return true
	case a.ReusePort && b.ReusePort:
		return false
	case a.Device != "" && b.Device != "" && a.Device != b.Device:
		return false
	}
	x, y := a.Addr.Addr(), b.Addr.Addr()
	if x.Zone() != "" && y.Zone() != "" && x.Zone() != y.Zone() {
		return false
	}
	x, y = x.WithZone(""), y.WithZone("")
	return x == y || a.covers(y) || b.covers(x)
}

// covers reports whether the address is a wildcard that ip falls under.
func (a Address) covers(ip netip.Addr) bool {
	w := a.Addr.Addr()
	return w.IsUnspecified() && (w.Is4() == ip.Is4() || a.Dual)
}

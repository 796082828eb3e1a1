package resource

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/sdk/schema"
)

// wanted is a resource in the form that is asked of the spawner.
type wanted struct {
	key    string
	scheme string // of a listener
	value  string // as the user wrote it
	bind   *spawner.Bind
	open   *spawner.Open
}

// addressOf returns the instance's address in an owner: what stays the same
// from one life to the next.
func addressOf(owner string) string {
	if n := strings.LastIndexByte(owner, '@'); n >= 0 {
		return owner[:n]
	}
	return owner
}

func parse(address string, r Want) (wanted, error) {
	switch r.Kind {
	case schema.Listener:
		return parseListener(address, r)
	case schema.File:
		return parseFile(r)
	}
	return wanted{}, fmt.Errorf("%s is not a socket or file", r.Attribute)
}

// parseListener reads scheme://address. The key has the network namespace, the
// protocol and the canonical address, since only together do they say that two
// sockets are one. MPTCP is always off, and an IPv6 socket is V6ONLY unless no
// host was given.
func parseListener(address string, r Want) (wanted, error) {
	w := wanted{value: r.Value}
	scheme, rest, ok := strings.Cut(r.Value, "://")
	if !ok {
		return w, fmt.Errorf("%q has no scheme: write tcp://127.0.0.1:8080, udp://…, unix:///path or unixgram:///path", r.Value)
	}
	w.scheme = scheme
	switch scheme {
	case "unix", "unixgram":
		if !filepath.IsAbs(rest) {
			return w, fmt.Errorf("%q needs an absolute path: %s:///run/name.sock", r.Value, scheme)
		}
		path := filepath.Clean(rest)
		if len(path) > 107 {
			return w, fmt.Errorf("the path of a unix socket has at most 107 bytes; %s has %d", path, len(path))
		}
		w.bind = &spawner.Bind{Network: scheme, Address: path}
		w.key = scheme + " " + path
		return w, nil
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
	default:
		return w, fmt.Errorf("unknown scheme %q: there are tcp, udp, unix and unixgram", scheme)
	}
	proto, family := scheme[:3], scheme[3:]
	at, err := parseAddrPort(rest, family)
	if err != nil {
		return w, fmt.Errorf("%q: %w", r.Value, err)
	}
	if at.Addr().Is4() {
		family = "4"
	} else {
		family = "6"
	}
	w.bind = &spawner.Bind{Network: proto + family, Address: at.String()}
	w.key = proto + " " + at.String()
	if strings.HasPrefix(rest, ":") && scheme == proto { // both families on one socket
		w.bind.Network = proto
		w.key += " dual"
	}
	if at.Port() == 0 { // every :0 is another socket, which keeps its port while held
		w.key += " for " + address + " " + r.Attribute
	}
	if ns := namespace(); ns != "" {
		w.key += " in " + ns
	}
	return w, nil
}

// parseAddrPort reads host:port, where host is an IP address, localhost or
// empty. Other names are refused: they can mean another address at each look,
// and an address that changes is another socket.
func parseAddrPort(s, family string) (netip.AddrPort, error) {
	if host, port, ok := cutPort(s); ok {
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
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	if family == "4" && !at.Addr().Is4() || family == "6" && at.Addr().Is4() {
		return at, fmt.Errorf("%s is not an IPv%s address", at.Addr(), family)
	}
	return at, nil
}

func cutPort(s string) (host, port string, ok bool) {
	n := strings.LastIndexByte(s, ':')
	if n < 0 {
		return "", "", false
	}
	return s[:n], s[n+1:], true
}

// namespace names the network namespace of this process.
func namespace() string {
	s, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return ""
	}
	return s
}

func parseFile(r Want) (wanted, error) {
	w := wanted{value: r.Value}
	if !filepath.IsAbs(r.Value) {
		return w, fmt.Errorf("the path %q is not absolute", r.Value)
	}
	path := filepath.Clean(r.Value)
	// Two names of one file are one file; the last part need not exist yet.
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	w.open = &spawner.Open{Path: path, Access: r.Access}
	w.key = "file " + path + " " + r.Access
	return w, nil
}

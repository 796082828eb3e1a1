// Package policy says what the spawner may do, whatever it is asked for: as
// which users programs may run, from which directories executables may come,
// which addresses may be bound, which files are opened with the spawner's own
// rights, and how many of each. It is read from a file of lines that only root
// can change, or from flags. It does nothing itself; host/spawner asks it
// before each act.
package policy

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

// Policy is a set of rules. What no rule allows is refused.
type Policy struct {
	users   []rule
	plugins []rule
	binds   []rule
	foreign []rule // addresses of other machines that may be bound: transparent
	files   []rule

	Processes int   // at once
	Leases    int   // at once
	Memory    int64 // bytes that a process may be given, 0 for no bound
}

// rule is one line.
type rule struct {
	text  string // as written
	where string // "/etc/host/spawner.policy:3", "--allow" or "default"

	name    string       // of a user; a path
	network string       // tcp, udp or unix
	prefix  netip.Prefix // of addresses; the zero Prefix is any
	low     uint16
	high    uint16
	access  []string // of files
}

func (r rule) String() string { return fmt.Sprintf("%q (%s)", r.text, r.where) }

// RefusedError is an act that no rule allows.
type RefusedError struct {
	What  string // "bind tcp 0.0.0.0:22"
	Rules string // what there is instead
	Add   string // the line that would allow it
}

// Rule marks it as a refusal.
func (e *RefusedError) Rule() {}

// Error says which rules there are and which line would allow it.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the spawner's policy does not allow %s; its rules are %s. The line %q in the policy file, or --allow with it, would", e.What, e.Rules, e.Add)
}

func refused(what, add string, rules []rule) error {
	list := make([]string, 0, len(rules))
	for _, r := range rules {
		list = append(list, r.String())
	}
	e := &RefusedError{What: what, Add: add, Rules: "none"}
	if len(list) > 0 {
		e.Rules = strings.Join(list, ", ")
	}
	return e
}

// Default is what holds where nothing is written. As root: ports 80, 443 and
// those from 1024 on, nothing of other machines, processes of the given user
// only, no file that this user may not open itself. Otherwise the kernel's own checks are enough: whatever
// the caller may do.
func Default(root bool, user string) *Policy {
	p := &Policy{Processes: 1024, Leases: 16384}
	if root {
		must(p.lines("default", "bind tcp *:80\nbind tcp *:443\nbind udp *:443\nbind tcp *:1024-65535\nbind udp *:1024-65535"))
	} else {
		must(p.lines("default", "bind tcp *:*\nbind udp *:*\ntransparent tcp *:*\ntransparent udp *:*"))
	}
	must(p.lines("default", "user "+user))
	return p
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// User reports whether programs may run as a user.
func (p *Policy) User(name string) error {
	for _, r := range p.users {
		if r.name == name {
			return nil
		}
	}
	return refused("processes of user "+name, "user "+name, p.users)
}

// Plugins returns the directories that executables may come from, empty when
// none are named: then the daemon's own plugin directory is the one.
func (p *Policy) Plugins() []string {
	var dirs []string
	for _, r := range p.plugins {
		dirs = append(dirs, r.name)
	}
	return dirs
}

// Bind reports whether a socket may be bound, and, with transparent, whether it
// may stand for other machines. network is that of package net.
// rights says that a rule names the path of a unix socket, so that it is bound
// with the spawner's own rights; otherwise those of the manager's user decide.
func (p *Policy) Bind(network, address string, transparent bool) (rights bool, err error) {
	kind := strings.TrimRight(network, "46")
	if network == "unix" || network == "unixgram" {
		for _, r := range p.binds {
			if r.network == "unix" && below(r.name, address) {
				return true, nil
			}
		}
		return false, nil
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil { // :80 is both families
		var any netip.AddrPort
		if any, err = netip.ParseAddrPort("[::]" + address); err != nil {
			return false, &RefusedError{What: "bind " + network + " " + address, Rules: "for IP addresses", Add: "bind tcp ADDRESS:PORT"}
		}
		at = any
	}
	if err := permit(p.binds, "bind", kind, network+" "+address, at); err != nil || !transparent {
		return false, err
	}
	return false, permit(p.foreign, "transparent", kind, network+" "+address, at)
}

// permit reports whether one of rules, which begin with word, names an address.
func permit(rules []rule, word, kind, asked string, at netip.AddrPort) error {
	for _, r := range rules {
		if r.network != kind || r.prefix.IsValid() && !r.prefix.Contains(at.Addr().Unmap().WithZone("")) {
			continue
		}
		// The kernel chooses for port 0, among those that need no rights.
		if at.Port() >= r.low && at.Port() <= r.high || at.Port() == 0 && r.high >= 1024 {
			return nil
		}
	}
	host := at.Addr().String()
	if at.Addr().IsUnspecified() {
		host = "*"
	} else if at.Addr().Is6() {
		host = "[" + host + "]"
	}
	return refused(word+" "+asked, fmt.Sprintf("%s %s %s:%d", word, kind, host, at.Port()), rules)
}

// File reports whether a file is opened with the spawner's own rights. Every
// other is opened with those of the manager's user, which needs no rule.
func (p *Policy) File(path, access string) (rights bool) {
	for _, r := range p.files {
		if below(r.name, path) {
			for _, a := range r.access {
				if a == access {
					return true
				}
			}
		}
	}
	return false
}

// below reports whether path is name, or in name when that ends in a slash.
func below(name, path string) bool {
	if filepath.Clean(path) != path {
		return false
	}
	return path == name || strings.HasSuffix(name, "/") && strings.HasPrefix(path, name)
}

// Rules returns the rules in force, for people.
func (p *Policy) Rules() []string {
	var all []string
	for _, rules := range [][]rule{p.users, p.plugins, p.binds, p.foreign, p.files} {
		for _, r := range rules {
			all = append(all, fmt.Sprintf("%s  (%s)", r.text, r.where))
		}
	}
	all = append(all, fmt.Sprintf("limit processes %d", p.Processes), fmt.Sprintf("limit leases %d", p.Leases))
	if p.Memory > 0 {
		all = append(all, fmt.Sprintf("limit memory %d", p.Memory))
	}
	return all
}

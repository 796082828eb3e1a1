package resource

import (
	"fmt"
	"net/netip"
	"os/user"
	"strconv"
)

// UserError is a user or group that there is not.
type UserError struct {
	Kind string // user or group
	Name string
}

// Error says how to see those that there are.
func (e *UserError) Error() string {
	database := map[string]string{"user": "passwd", "group": "group"}[e.Kind]
	return fmt.Sprintf("there is no %s %q on this machine: getent %s lists those that are", e.Kind, e.Name, database)
}

// UserID returns the number of a user given by name or number. The error is a
// *UserError when there is no such user.
func UserID(name string) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return -1, &UserError{Kind: "user", Name: name}
	}
	return strconv.Atoi(u.Uid)
}

// GroupID is UserID for a group.
func GroupID(name string) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return -1, &UserError{Kind: "group", Name: name}
	}
	return strconv.Atoi(g.Gid)
}

func withZone(at netip.AddrPort, zone string) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().WithZone(zone), at.Port())
}

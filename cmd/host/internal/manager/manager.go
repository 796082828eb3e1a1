// Package manager says as whom the manager runs when host run is called by root.
package manager

import (
	"fmt"
	"os"
	"syscall"

	"github.com/pluginhost/host/host/spawner/server"
)

// DefaultUser is $HOST_USER, for root.
func DefaultUser() string {
	if os.Geteuid() != 0 {
		return ""
	}
	return os.Getenv("HOST_USER")
}

// User finds who the manager runs as: name if given, else whoever fits the
// configuration in dir. lacks says what is wrong with that.
// A stranger who calls sudo, or is root in a container, should see it work; that
// a better choice exists is shown in the status.
func User(name, dir string) (u *server.User, lacks []string, err error) {
	if os.Geteuid() != 0 {
		u, err := server.Caller()
		if err == nil && name != "" && name != u.Name {
			err = fmt.Errorf("only root can run the daemon as %s: sudo host run --user %s", name, name)
		}
		return u, nil, err
	}
	if name != "" {
		u, err := server.Lookup(name)
		return u, nil, err
	}
	owner := ""
	if st, err := os.Stat(dir); err == nil {
		owner = fmt.Sprint(st.Sys().(*syscall.Stat_t).Uid)
	}
	for _, name := range []string{"host", os.Getenv("SUDO_UID"), owner} {
		if u, err := server.Lookup(name); name != "" && err == nil && u.UID != 0 {
			return u, nil, nil
		}
	}
	u, err = server.Lookup("0")
	return u, []string{"the manager and the plugins run as root, although without its capabilities: there is no user host, and the configuration belongs to root; useradd --system host, or name a user with --user"}, err
}

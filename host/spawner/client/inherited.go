package client

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
)

// Inherited returns the connection of a process that is a manager, and nil in
// any other. Nobody else can look into it any more.
func Inherited() (*net.UnixConn, error) {
	if os.Getenv(spawner.ManagerMark) != fmt.Sprint(spawner.ManagerFD) {
		return nil, nil
	}
	_ = os.Unsetenv(spawner.ManagerMark)
	unix.CloseOnExec(spawner.ManagerFD)
	conn, err := spawner.Conn(spawner.ManagerFD)
	if err != nil {
		return nil, fmt.Errorf("%s is set, but descriptor %d is not a spawner's: unset it: %w", spawner.ManagerMark, spawner.ManagerFD, err)
	}
	return conn, spawner.Hide("host-manager")
}

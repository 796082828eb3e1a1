package server

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/cgroup"
	"github.com/pluginhost/host/host/spawner/child"
)

// Manager executes Self as the manager, with the arguments, environment and
// standard descriptors of this process, as the spawner's user, without
// capabilities and without new privileges. conn is for Serve. The caller waits
// for the process.
func (s *Spawner) Manager(argv []string) (pid int, conn *net.UnixConn, err error) {
	ours, theirs, err := half()
	if err != nil {
		return 0, nil, err
	}
	defer func() {
		_ = unix.Close(theirs)
		if err != nil {
			_ = ours.Close()
		}
	}()
	// In a session of its own a terminal's signals reach the spawner only, which
	// passes them on once.
	env := []string{fmt.Sprintf("%s=%d", spawner.ManagerMark, spawner.ManagerFD)}
	for _, e := range os.Environ() {
		// The manager is who systemd hears from, and what it is we say.
		if !strings.HasPrefix(e, "WATCHDOG_PID=") && !strings.HasPrefix(e, spawner.ManagerMark+"=") {
			env = append(env, e)
		}
	}
	attr := &syscall.ProcAttr{Dir: ".", Env: env, Files: []uintptr{0, 1, 2, uintptr(theirs), ^uintptr(0), uintptr(s.self)},
		Sys: &syscall.SysProcAttr{Setsid: true}}
	dir, err := os.Getwd()
	if err != nil {
		return 0, nil, err
	}
	p := &process{group: &cgroup.Group{}}
	setup := &child.Setup{Argv: argv, Inherit: true, Dir: dir, Keep: spawner.ManagerFD + 1, Umask: 0o077,
		Parent: int64(os.Getpid()), Manager: child.LandlockABI() > 0}
	if err := s.become(p, s.user, setup, attr); err != nil {
		return 0, nil, fmt.Errorf("start the manager as %s: %w", s.user.Name, err)
	}
	_ = s.groups.First(p.pid) // it serves all the same where it is one among others
	return p.pid, ours, nil
}

// half returns one end of a connection for Serve, and the other as a descriptor.
func half() (*net.UnixConn, int, error) {
	ours, theirs, err := spawner.Socketpair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, -1, err
	}
	conn, err := spawner.Conn(ours)
	if err != nil {
		_ = unix.Close(theirs)
	}
	return conn, theirs, err
}

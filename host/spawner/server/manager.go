package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/child"
)

// ManagerFD is the descriptor on which a manager asks its spawner.
const ManagerFD = 3

// managerMark is the variable that tells a manager what it is.
const managerMark = "HOST_SPAWNER_FD"

// Manager executes Self as the manager, with the arguments, environment and
// standard descriptors of this process, as the spawner's user, without
// capabilities and without new privileges. conn is for Serve. The caller waits
// for the process.
func (s *Spawner) Manager(argv []string) (pid int, conn *net.UnixConn, err error) {
	if s.self < 0 {
		return 0, nil, errors.New("there is no executable for children")
	}
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
	env := []string{fmt.Sprintf("%s=%d", managerMark, ManagerFD)}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "WATCHDOG_PID=") { // the manager is who systemd hears from
			env = append(env, e)
		}
	}
	attr := &syscall.ProcAttr{Dir: ".", Env: env, Files: []uintptr{0, 1, 2, uintptr(theirs), ^uintptr(0), uintptr(s.self)},
		Sys: &syscall.SysProcAttr{Setsid: true}}
	if s.root {
		attr.Sys.Credential = &syscall.Credential{Uid: s.user.UID, Gid: s.user.GID, Groups: s.user.Groups}
	}
	dir, err := os.Getwd()
	if err != nil {
		return 0, nil, err
	}
	p := &process{}
	setup := &child.Setup{Argv: argv, Inherit: true, Dir: dir, Keep: ManagerFD + 1, Umask: 0o077,
		Parent: int64(os.Getpid()), Manager: child.LandlockABI() > 0}
	if err := s.become(p, setup, attr); err != nil {
		return 0, nil, fmt.Errorf("start the manager as %s: %w", s.user.Name, err)
	}
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

// Inherited returns the connection of a process that is a manager, and nil in
// any other. Nobody else can look into it any more.
func Inherited() (*net.UnixConn, error) {
	if os.Getenv(managerMark) != fmt.Sprint(ManagerFD) {
		return nil, nil
	}
	_ = os.Unsetenv(managerMark)
	unix.CloseOnExec(ManagerFD)
	conn, err := spawner.Conn(ManagerFD)
	if err != nil {
		return nil, fmt.Errorf("%s is set, but descriptor %d is not a spawner's: unset it: %w", managerMark, ManagerFD, err)
	}
	return conn, Hide("host-manager")
}

// Hide keeps other processes of this user from looking into this one, and gives
// it a name in the list of processes.
func Hide(name string) error {
	// The other way round the file would be root's.
	err := os.WriteFile("/proc/self/comm", []byte(name), 0)
	return errors.Join(err, os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)))
}

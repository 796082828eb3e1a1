package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/child"
)

// confined follows the descriptor in the variable of a manager that is.
const confined = " confined"

// Inherited returns the connection of a process that is a manager, and nil in
// any other. Nobody else can look into it any more. confined says that Confine
// has been here.
func Inherited() (conn *net.UnixConn, isConfined bool, err error) {
	mark, isConfined := strings.CutSuffix(os.Getenv(spawner.ManagerMark), confined)
	if mark != fmt.Sprint(spawner.ManagerFD) {
		return nil, false, nil
	}
	_ = os.Unsetenv(spawner.ManagerMark)
	unix.CloseOnExec(spawner.ManagerFD)
	if conn, err = spawner.Conn(spawner.ManagerFD); err != nil {
		return nil, false, fmt.Errorf("%s is set, but descriptor %d is not a spawner's: unset it: %w", spawner.ManagerMark, spawner.ManagerFD, err)
	}
	return conn, isConfined, spawner.Hide("host-manager")
}

// Restarts is how often the spawner of this manager has started it again.
func Restarts() int {
	n, _ := strconv.Atoi(os.Getenv(spawner.RestartsMark))
	return n
}

// helloTimeout bounds the answer to the first request.
const helloTimeout = 30 * time.Second

// Confine takes from this process the right to change any file but those in the
// state directory, by Landlock: it has the spawner make that, and executes itself
// once more, since Landlock confines a thread and what that executes. It is for a
// manager that knows where its state is, and nothing else yet: no goroutine goes
// on. It returns an error, or nil where the kernel has no Landlock.
func Confine(conn *net.UnixConn, stateDir string) error {
	if child.LandlockABI() == 0 {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	err = raw.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, spawner.ManagerFD+1) })
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	// The state directory must be there before anything can be said of it.
	ctx, cancel := context.WithTimeout(context.Background(), helloTimeout)
	defer cancel()
	c := Connect(conn)
	if _, _, err := c.Hello(ctx, spawner.Hello{StateDir: stateDir}); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	runtime.LockOSThread() // never unlocked: this thread executes, or the process ends
	err = child.Write([]string{stateDir, "/proc/self/comm"})
	if err == nil {
		err = unix.Dup3(fd, spawner.ManagerFD, 0)
	}
	if err == nil {
		env := append(os.Environ(), fmt.Sprintf("%s=%d%s", spawner.ManagerMark, spawner.ManagerFD, confined))
		err = unix.Exec("/proc/self/exe", os.Args, env)
	}
	return fmt.Errorf("confine the manager to its state directory: %w", err)
}

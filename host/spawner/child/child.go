// Package child is what runs between the fork of a process and its program: the
// spawner executes its own executable again, Main takes the limits and the
// sandbox from the spawner, puts them on, and executes the verified descriptor.
// By then the process has its user already: nothing here ever runs with the
// spawner's rights. host/spawner is its caller.
package child

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner/message"
)

// Name is the argv[0] of a process that is not its program yet.
const Name = "host-spawner-child"

// Setup is what a process is given before its program begins.
type Setup struct {
	Argv, Env []string // all there is
	Inherit   bool     // the environment of the child in place of Env
	Dir       string   // working directory
	Keep      uint64   // descriptors 0 to Keep-1 stay open, all others close
	Umask     uint64
	Parent    int64 // pid of the spawner, whose end is this process's

	Files    int64 // RLIMIT_NOFILE, 0 to leave it
	Procs    int64 // RLIMIT_NPROC
	FileSize int64 // RLIMIT_FSIZE, bytes
	Data     int64 // RLIMIT_DATA, bytes
	Core     int64 // RLIMIT_CORE, bytes; 0 is none

	Confined bool     // apply Landlock: only the paths below
	Write    []string // directories and files to read and write, by Landlock
	Read     []string // to read
	Run      []string // to read and execute
	Manager  bool     // apply Landlock of the manager instead: it executes nothing
	Network  bool     // internet sockets may be made
	Filtered bool     // apply the seccomp preset
}

// Fields describes a Setup for both directions.
func (s *Setup) Fields(c *message.Coder) {
	c.Texts(&s.Argv)
	c.Texts(&s.Env)
	c.Text(&s.Dir)
	for _, v := range []*uint64{&s.Keep, &s.Umask} {
		c.Uint(v)
	}
	for _, v := range []*int64{&s.Parent, &s.Files, &s.Procs, &s.FileSize, &s.Data, &s.Core} {
		c.Int(v)
	}
	for _, v := range []*[]string{&s.Write, &s.Read, &s.Run} {
		c.Texts(v)
	}
	for _, v := range []*bool{&s.Inherit, &s.Confined, &s.Manager, &s.Network, &s.Filtered} {
		c.Bool(v)
	}
}

// Descriptors of a child, above those of its program.
const (
	// ExeFD is the verified descriptor of the program.
	ExeFD = 5
	// SetupFD is where a child is told its Setup, and where it says what went
	// wrong. That it closes without a word means that the program runs.
	SetupFD = 6
)

// Main returns at once in a process that is no child. In one it executes the
// program and does not return. A program whose executable is given to the
// spawner calls it first.
func Main() {
	if len(os.Args) != 1 || os.Args[0] != Name {
		return
	}
	runtime.LockOSThread() // all that follows belongs to this thread, whose exec ends the others
	err := become()
	_, _ = unix.Write(SetupFD, []byte(err.Error()))
	os.Exit(127)
}

// become returns only an error.
func become() error {
	buf := make([]byte, message.Max)
	n, err := unix.Read(SetupFD, buf)
	if err != nil || n <= 0 {
		return fmt.Errorf("no setup came: %w", err)
	}
	var s Setup
	if err := message.Decode(buf[:n], s.Fields); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	if !s.Manager && !s.Inherit { // a manager drains when its connection ends
		// The parent may have ended before.
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
			return fmt.Errorf("prctl: %w", err)
		}
	}
	if int64(os.Getppid()) != s.Parent {
		return errors.New("the spawner has ended")
	}
	unix.Umask(int(s.Umask))
	if err := unix.Chdir(s.Dir); err != nil {
		return fmt.Errorf("chdir %s: %w", s.Dir, err)
	}
	if err := s.limit(); err != nil {
		return err
	}
	// The sandbox needs it, and a setuid program gives nothing any more.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := dropBounds(); err != nil {
		return err
	}
	if s.Confined || s.Manager {
		if err := s.landlock(); err != nil {
			return fmt.Errorf("landlock: %w", err)
		}
	}
	if err := unix.CloseRange(uint(s.Keep), math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	if s.Filtered {
		if err := filter(s.Network); err != nil {
			return fmt.Errorf("seccomp: %w", err)
		}
	}
	env := s.Env
	if s.Inherit {
		env = os.Environ()
	}
	err = execute(ExeFD, s.Argv, env)
	return fmt.Errorf("execute %s: %w", s.Argv[0], err)
}

// defaultFiles is how many descriptors a process may have that names no number;
// Go programs take all that they may.
const defaultFiles = 65_536

// threadStack is what the stack of a thread may have, where data is bounded: in
// bytes.
const threadStack = 2 << 20

func (s *Setup) limit() error {
	for _, l := range []struct {
		name string
		what int
		to   int64
		set  bool
	}{
		{"nofile", unix.RLIMIT_NOFILE, s.Files, s.Files > 0},
		{"nproc", unix.RLIMIT_NPROC, s.Procs, s.Procs > 0},
		{"fsize", unix.RLIMIT_FSIZE, s.FileSize, s.FileSize > 0},
		{"data", unix.RLIMIT_DATA, s.Data, s.Data > 0},
		{"core", unix.RLIMIT_CORE, s.Core, true},
		// C libraries make the stack of a thread as large as this, and all of it
		// counts as data.
		{"stack", unix.RLIMIT_STACK, threadStack, s.Data > 0},
	} {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.what, &now); err != nil {
			return fmt.Errorf("rlimit %s: %w", l.name, err)
		}
		if !l.set && l.what != unix.RLIMIT_NOFILE {
			continue
		}
		if !l.set {
			// This runtime has raised it to the most; programs that use
			// select expect what is usual.
			_ = unix.Prlimit(0, l.what, &unix.Rlimit{Cur: min(1024, now.Max), Max: min(defaultFiles, now.Max)}, nil)
			continue
		}
		if l.what == unix.RLIMIT_STACK {
			_ = unix.Prlimit(0, l.what, &unix.Rlimit{Cur: min(threadStack, now.Cur), Max: now.Max}, nil)
			continue
		}
		to := min(uint64(l.to), now.Max) // lower only: raising needs rights
		if err := unix.Prlimit(0, l.what, &unix.Rlimit{Cur: to, Max: to}, nil); err != nil {
			return fmt.Errorf("rlimit %s: %w", l.name, err)
		}
	}
	return nil
}

// dropBounds empties the capability sets of a process that has any left: root's,
// when a plugin is to run as root.
func dropBounds() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
				break // it has no rights already, or the kernel has fewer
			}
			return fmt.Errorf("capability bounds: %w", err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}

// execute executes a descriptor: the inode that was verified, whatever its path
// leads to by now.
func execute(fd int, argv, env []string) error {
	a, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return err
	}
	e, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return err
	}
	path, _ := unix.BytePtrFromString("") // it has no NUL
	for n := 0; ; n++ {
		_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(path)),
			uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&e[0])), unix.AT_EMPTY_PATH, 0)
		if errno != unix.ETXTBSY || n == busyRetries {
			return errno
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// busyRetries bounds the wait for an executable that is still open for writing
// somewhere: a fork elsewhere holds such a descriptor for an instant.
const busyRetries = 50

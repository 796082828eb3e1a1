package child

import (
	"errors"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rights of Landlock, in groups that a plugin is given.
const (
	readRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	runRights  = readRights | unix.LANDLOCK_ACCESS_FS_EXECUTE
	fileRights = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	// Devices are made by nobody, and controlled by nobody.
	writeRights = readRights | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
)

// LandlockABI returns the kernel's version of Landlock, 0 where there is none.
func LandlockABI() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// What every plugin may read: programs and libraries to run, and the files that
// a resolver, a locale or TLS needs. No home, no state, no configuration.
var (
	systemRun  = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/gnu/store"}
	systemRead = []string{
		"/proc", "/sys", "/dev/urandom", "/dev/random", "/run/systemd/resolve", "/run/nscd",
		"/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/hostname", "/etc/nsswitch.conf", "/etc/gai.conf",
		"/etc/passwd", "/etc/group", "/etc/services", "/etc/protocols", "/etc/localtime", "/etc/timezone",
		"/etc/os-release", "/etc/mime.types", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
		"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/crypto-policies", "/etc/alternatives",
	}
	systemWrite = []string{"/dev/null", "/dev/zero", "/dev/full"}
	loaders     = []string{"/lib*/ld-*", "/lib/*/ld-*", "/usr/lib*/ld-*", "/usr/lib/*/ld-*"}
)

// landlock takes from this thread, and from the program that it becomes, what
// the Setup does not name. Signals to and abstract sockets of others, and
// looking into them with ptrace, go with it.
func (s *Setup) landlock() error {
	abi := LandlockABI()
	if abi == 0 {
		return errors.New("the kernel has none")
	}
	handled := uint64(writeRights | runRights | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV)
	scoped := uint64(unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET)
	if s.Manager {
		// It opens what its user may, but executes nothing and makes no device.
		handled = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
		scoped = unix.LANDLOCK_SCOPE_SIGNAL
	}
	if abi < 5 {
		handled &^= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi < 3 {
		handled &^= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi < 2 {
		handled &^= unix.LANDLOCK_ACCESS_FS_REFER
	}
	attr := [3]uint64{handled, 0, scoped} // files, network, scopes
	size := uintptr(24)
	if abi < 6 {
		size = 8
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return os.NewSyscallError("landlock_create_ruleset", errno)
	}
	rules := int(fd)
	defer func() { _ = unix.Close(rules) }()
	if err := allow(rules, ExeFD, handled&runRights); err != nil {
		return err
	}
	var run, read, write []string
	for _, pattern := range loaders {
		found, _ := filepath.Glob(pattern) // the pattern is right
		run = append(run, found...)
	}
	if !s.Manager {
		run = append(append(run, systemRun...), s.Run...)
		read = append(append(read, systemRead...), s.Read...)
		write = append(append(write, systemWrite...), s.Write...)
	}
	for _, group := range []struct {
		paths  []string
		rights uint64
	}{{run, runRights}, {read, readRights}, {write, writeRights}} {
		for _, path := range group.paths {
			if path == "" {
				continue
			}
			at, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				continue // what this user cannot reach needs no rule
			}
			err = allow(rules, at, handled&group.rights)
			_ = unix.Close(at)
			if err != nil {
				return &os.PathError{Op: "landlock_add_rule", Path: path, Err: err}
			}
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules), 0, 0); errno != 0 {
		return os.NewSyscallError("landlock_restrict_self", errno)
	}
	return nil
}

// allow adds a rule for what a descriptor names and all below it.
func allow(rules, fd int, rights uint64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= fileRights
	}
	if rights == 0 {
		return nil
	}
	// struct landlock_path_beneath_attr is packed: rights, then the descriptor.
	attr := struct {
		rights uint64
		fd     int32
	}{rights, int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("landlock_add_rule", errno)
	}
	return nil
}

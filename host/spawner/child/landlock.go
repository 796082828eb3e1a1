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
	var run []string
	for _, pattern := range loaders {
		found, _ := filepath.Glob(pattern) // the pattern is right
		run = append(run, found...)
	}
	const devices = unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
	if s.Manager {
		// It reads what its user may, but executes nothing and makes no device;
		// where it writes it says itself, with Write, when it has read that.
		return restrict(unix.LANDLOCK_ACCESS_FS_EXECUTE|devices, unix.LANDLOCK_SCOPE_SIGNAL, ExeFD, []grant{{runRights, run}})
	}
	return restrict(writeRights|runRights|devices|unix.LANDLOCK_ACCESS_FS_IOCTL_DEV,
		unix.LANDLOCK_SCOPE_SIGNAL|unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, ExeFD, []grant{
			{runRights, run}, {runRights, systemRun}, {runRights, s.Run},
			{readRights, systemRead}, {readRights, s.Read},
			{writeRights, systemWrite}, {writeRights, s.Write},
		})
}

// Write takes from this thread, and from the program that it executes next, the
// right to change anything but the directories and files of paths.
func Write(paths []string) error {
	return restrict(writeRights&^readRights, 0, -1, []grant{{writeRights, systemWrite}, {writeRights, paths}})
}

// grant gives rights to paths and all below them.
type grant struct {
	rights uint64
	paths  []string
}

// restrict takes the handled rights from this thread but for what is granted,
// and for executing exe, unless that is -1.
func restrict(handled, scoped uint64, exe int, grants []grant) error {
	abi := LandlockABI()
	if abi == 0 {
		return errors.New("the kernel has none")
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
	if exe >= 0 {
		if err := allow(rules, exe, handled&runRights); err != nil {
			return err
		}
	}
	for _, g := range grants {
		for _, path := range g.paths {
			at, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				continue // what this user cannot reach needs no rule
			}
			err = allow(rules, at, handled&g.rights)
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

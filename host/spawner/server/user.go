package server

import (
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// User is somebody to run as.
type User struct {
	Name     string
	UID, GID uint32
	Groups   []uint32 // supplementary
}

// Caller is who this process runs as.
func Caller() (*User, error) {
	u, err := Lookup(strconv.Itoa(os.Geteuid()))
	if err != nil { // without a name in the user database, as in containers
		u = &User{Name: strconv.Itoa(os.Geteuid()), UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	}
	return u, nil
}

// Lookup finds a user by name or number.
func Lookup(name string) (*User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		byID, err2 := user.LookupId(name)
		if err2 != nil {
			return nil, fmt.Errorf("there is no user %q on this machine", name)
		}
		u = byID
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil || err2 != nil {
		return nil, fmt.Errorf("user %s has no usable number", name)
	}
	r := &User{Name: u.Username, UID: uint32(uid), GID: uint32(gid)}
	groups, _ := u.GroupIds() // without them it has fewer rights
	for _, g := range groups {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil && uint32(n) != r.GID {
			r.Groups = append(r.Groups, uint32(n))
		}
	}
	return r, nil
}

// as runs f with the file rights of a user, where this process is root and the
// user is not: on a thread of its own, which ends with f, so that there is
// nothing to put back.
func (s *Spawner) as(u *User, f func() error) error {
	if !s.root || u.UID == 0 {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- func() error {
			groups := u.Groups
			var first unsafe.Pointer
			if len(groups) > 0 {
				first = unsafe.Pointer(&groups[0])
			}
			// The plain calls of package syscall change all threads.
			if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); errno != 0 {
				return os.NewSyscallError("setgroups", errno)
			}
			for _, set := range []struct{ call, id uintptr }{{unix.SYS_SETFSGID, uintptr(u.GID)}, {unix.SYS_SETFSUID, uintptr(u.UID)}} {
				_, _, _ = unix.RawSyscall(set.call, set.id, 0, 0)
				// The call has no error; asked again it says what holds.
				if now, _, _ := unix.RawSyscall(set.call, ^uintptr(0), 0, 0); now != set.id {
					return fmt.Errorf("the file rights of user %s cannot be taken", u.Name)
				}
			}
			return f()
		}()
	}()
	return <-done
}

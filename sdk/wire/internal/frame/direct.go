package frame

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Direct writes to a connection's descriptor without waiting. One goroutine
// uses it at a time.
type Direct struct {
	raw  syscall.RawConn
	rest []byte // of a frame
	call func(fd uintptr) bool
}

// NewDirect returns nil for a connection without a descriptor.
func NewDirect(conn net.Conn) *Direct {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	d := &Direct{raw: raw}
	d.call = func(fd uintptr) bool {
		for len(d.rest) > 0 {
			n, err := unix.Write(int(fd), d.rest)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || n <= 0 {
				break // full, or broken: the writer will see which
			}
			d.rest = d.rest[n:]
		}
		return true
	}
	return d
}

// Write reports whether the whole frame was written. If not, Sealed gives what
// is left of it.
func (d *Direct) Write(f *Frame) bool {
	d.rest = f.Sealed()
	err := d.raw.Write(d.call)
	f.rest, d.rest = d.rest, nil
	return err == nil && len(f.rest) == 0
}

package frame

import (
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A descriptor that is not blocking needs no help of the runtime for a call
// that might block. With it, the first call after all was idle wakes the
// runtime's monitor thread, and a call that lets the peer run may cost the
// processor: for one event at a time that is more than the call.

func read(fd uintptr, b []byte) (int, syscall.Errno) {
	n, _, err := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), err
}

func write(fd uintptr, b []byte) (int, syscall.Errno) {
	n, _, err := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), err
}

// raw returns nil for a connection without a descriptor.
func raw(conn net.Conn) syscall.RawConn {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	c, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return c
}

// Source is what a connection gives. One goroutine uses it at a time. rest is
// called, unless it is nil, before a read waits for the peer.
func Source(conn net.Conn, rest func()) io.Reader {
	if rest == nil {
		rest = func() {}
	}
	s := &source{raw: raw(conn)}
	if s.raw == nil {
		return &slow{conn, rest}
	}
	s.call = func(fd uintptr) bool {
		for {
			switch s.n, s.err = read(fd, s.into); s.err {
			case unix.EAGAIN:
				rest()
				return false
			case unix.EINTR:
				continue
			}
			return true
		}
	}
	return s
}

// slow is a connection of which nobody knows whether a read would wait.
type slow struct {
	conn net.Conn
	rest func()
}

func (s *slow) Read(b []byte) (int, error) {
	s.rest()
	return s.conn.Read(b)
}

type source struct {
	raw  syscall.RawConn
	into []byte
	n    int
	err  syscall.Errno
	call func(fd uintptr) bool
}

func (s *source) Read(b []byte) (int, error) {
	s.into = b
	err := s.raw.Read(s.call)
	s.into = nil
	switch {
	case err != nil:
		return 0, err
	case s.err != 0:
		return 0, s.err
	case s.n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return s.n, nil
}

// Direct writes to a connection's descriptor without waiting. One goroutine
// uses it at a time.
type Direct struct {
	raw  syscall.RawConn
	rest []byte // of a frame
	call func(fd uintptr) bool
}

// NewDirect returns nil for a connection without a descriptor.
func NewDirect(conn net.Conn) *Direct {
	d := &Direct{raw: raw(conn)}
	if d.raw == nil {
		return nil
	}
	d.call = func(fd uintptr) bool {
		for len(d.rest) > 0 {
			n, err := write(fd, d.rest)
			if err == unix.EINTR {
				continue
			}
			if err != 0 || n <= 0 {
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

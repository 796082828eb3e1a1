// Package descriptor passes open descriptors between processes, each with the
// id of its lease: over descriptor 4 of a plugin process, and between host and
// its spawner.
package descriptor

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// MaxID is the largest lease id in bytes.
const MaxID = 256

// Send sends one descriptor with its lease id over a SOCK_SEQPACKET
// socket. c, a listener or a file for example, stays the caller's; its flags
// are not touched.
func Send(conn *net.UnixConn, id string, c syscall.Conn) error {
	if id == "" || len(id) > MaxID {
		return fmt.Errorf("send descriptor: a lease id of %d bytes; it has 1 to %d", len(id), MaxID)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("send descriptor %s: %w", id, err)
	}
	var sent error
	err = raw.Control(func(fd uintptr) {
		_, _, sent = conn.WriteMsgUnix([]byte(id), unix.UnixRights(int(fd)), nil)
	})
	if err = errors.Join(err, sent); err != nil {
		return fmt.Errorf("send descriptor %s: %w", id, err)
	}
	return nil
}

// Receive waits for the next descriptor. It returns io.EOF when the
// peer has closed. After any other error the connection may still be used. The
// descriptor is close-on-exec.
func Receive(conn *net.UnixConn) (id string, f *os.File, err error) {
	data := make([]byte, MaxID+1)
	control := make([]byte, unix.CmsgSpace(4*4)) // room to notice more than one
	// ReadMsgUnix receives with MSG_CMSG_CLOEXEC.
	n, oobn, flags, _, err := conn.ReadMsgUnix(data, control)
	if err != nil {
		return "", nil, err
	}
	if n == 0 && oobn == 0 {
		return "", nil, io.EOF
	}
	fds, err := rights(control[:oobn])
	switch {
	case err != nil:
	case flags&unix.MSG_CTRUNC != 0:
		err = errors.New("more descriptors in one message than allowed, which is one")
	case n == 0 || n > MaxID:
		err = fmt.Errorf("a lease id must have 1 to %d bytes", MaxID)
	case len(fds) != 1:
		err = fmt.Errorf("%d descriptors in one message; there must be one", len(fds))
	}
	if err != nil {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		return "", nil, fmt.Errorf("receive descriptor: %w", err)
	}
	id = string(data[:n])
	return id, os.NewFile(uintptr(fds[0]), "lease "+id), nil
}

// rights returns all descriptors in control data, also with an error.
func rights(control []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	var fds []int
	for i := range messages {
		got, parse := unix.ParseUnixRights(&messages[i])
		if parse != nil {
			err = errors.Join(err, parse)
			continue
		}
		fds = append(fds, got...)
	}
	return fds, err
}

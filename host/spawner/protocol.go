package spawner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Bounds of one message.
const (
	maxMessage = 128 << 10 // bytes
	maxRights  = 4         // descriptors
)

// request is one datagram from the client. Exactly one of the pointers is set.
type request struct {
	ID     uint64  `json:"id"`
	Bind   *Bind   `json:"bind,omitempty"`
	Open   *Open   `json:"open,omitempty"`
	Close  *string `json:"close,omitempty"` // lease
	Start  *Start  `json:"start,omitempty"` // with the executable's descriptor
	Give   *give   `json:"give,omitempty"`
	Signal *signal `json:"signal,omitempty"`
}

// Bind asks for a socket.
type Bind struct {
	Network string `json:"network"` // tcp, tcp4, tcp6, udp, udp4, udp6, unix, unixgram
	Address string `json:"address"` // [::]:80 with tcp is both families; /run/x.sock
}

// Open asks for a file.
type Open struct {
	Path   string `json:"path"`   // absolute
	Access string `json:"access"` // read, append, write, directory
}

// Start asks for a process.
type Start struct {
	Argv   []string `json:"argv"`
	Env    []string `json:"env"`    // all there is
	Dir    string   `json:"dir"`    // working directory, absolute
	Memory int64    `json:"memory"` // bytes of data it may have, 0 for no limit
}

type give struct {
	Process uint64 `json:"process"`
	Lease   string `json:"lease"`
}

type signal struct {
	Process uint64 `json:"process"`
	Signal  int    `json:"signal"` // to the whole process group
}

// reply is one datagram to the client: the answer to request ID, or, with Exit,
// the end of a process.
type reply struct {
	ID      uint64 `json:"id"`
	Error   *Error `json:"error,omitempty"`
	Lease   string `json:"lease,omitempty"`
	Address string `json:"address,omitempty"`
	Process uint64 `json:"process,omitempty"`
	Pid     int    `json:"pid,omitempty"`
	Exit    *Exit  `json:"exit,omitempty"`
}

// Exit is how a process ended.
type Exit struct {
	Code   int `json:"code"`   // -1 when ended by a signal
	Signal int `json:"signal"` // 0 when it ended by itself
}

// send writes one message with descriptors.
func send(c *net.UnixConn, v any, fds ...int) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxMessage {
		return &Error{Kind: Invalid, Message: fmt.Sprintf("the request is %d bytes long, at most %d are allowed", len(b), maxMessage)}
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix(b, rights, nil)
	return err
}

// receive reads one message into v and returns its descriptors, which are the
// caller's to close, also when there is an error.
func receive(c *net.UnixConn, buf []byte, v any) (fds []int, err error) {
	oob := make([]byte, unix.CmsgSpace(maxRights*4))
	n, oobn, flags, _, err := readMsg(c, buf, oob)
	if err != nil {
		return nil, err
	}
	if fds, err = rights(oob[:oobn]); err != nil {
		return fds, err
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return fds, &Error{Kind: Invalid, Message: "the message was cut off"}
	}
	if n == 0 {
		return fds, net.ErrClosed // SEQPACKET: the other end is gone
	}
	d := json.NewDecoder(bytes.NewReader(buf[:n]))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fds, &Error{Kind: Invalid, Message: "not a message: " + err.Error()}
	}
	return fds, nil
}

// readMsg is ReadMsgUnix, whose descriptors are always close-on-exec.
func readMsg(c *net.UnixConn, b, oob []byte) (n, oobn, flags int, from *net.UnixAddr, err error) {
	n, oobn, flags, from, err = c.ReadMsgUnix(b, oob) // Go sets MSG_CMSG_CLOEXEC
	return
}

func rights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	var fds []int
	for i := range messages {
		more, err := unix.ParseUnixRights(&messages[i])
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return fds, os.NewSyscallError("recvmsg", err)
		}
		fds = append(fds, more...)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

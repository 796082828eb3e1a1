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
	Set    *set    `json:"set,omitempty"`
	Retire *string `json:"retire,omitempty"` // lease
	Open   *Open   `json:"open,omitempty"`
	Close  *string `json:"close,omitempty"` // lease
	Start  *Start  `json:"start,omitempty"` // with the executable's descriptor
	Give   *give   `json:"give,omitempty"`
	Signal *signal `json:"signal,omitempty"`
}

// Bind asks for a socket. It is the caller's alone from then on, and gets
// nothing until Set.
type Bind struct {
	Network string `json:"network"` // tcp, tcp4, tcp6, udp, udp4, udp6, unix, unixgram
	Address string `json:"address"` // 127.0.0.1:80, [fe80::1%eth0]:80; [::]:80 with tcp is both families; /run/x.sock

	Device      string `json:"device,omitempty"` // lo
	FreeBind    bool   `json:"freebind,omitempty"`
	Transparent bool   `json:"transparent,omitempty"`
	ReusePort   bool   `json:"reuseport,omitempty"` // others may bind it too, from Set on

	// Over are leases with an overlapping address, from which this one takes
	// over: the port of 0.0.0.0:80 for 127.0.0.1:80.
	Over []string `json:"over,omitempty"`

	Settings Settings `json:"settings"`
}

// Settings are what can be changed about a socket while it serves.
type Settings struct {
	Backlog       int    `json:"backlog,omitempty"` // connections that may wait; 0 for what the kernel allows
	Mode          uint32 `json:"mode,omitempty"`    // of the file of a unix socket
	UID           int    `json:"uid"`               // likewise; -1 for the spawner's
	GID           int    `json:"gid"`
	ReceiveBuffer int    `json:"receive_buffer,omitempty"` // bytes; 0 for the kernel's default
	SendBuffer    int    `json:"send_buffer,omitempty"`
	KeepAlive     int    `json:"keepalive,omitempty"` // seconds of silence before TCP asks; 0 for never
}

// set puts settings in force.
type set struct {
	Lease    string   `json:"lease"`
	Settings Settings `json:"settings"`
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
	Waiting bool   `json:"waiting,omitempty"` // something is left in the queue of a retired lease
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

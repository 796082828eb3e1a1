// Package spawner is the form of what the privileged side of the daemon is asked:
// a closed set of requests of fixed fields, their answers and their errors. Both
// ends link it: host/spawner/server, which has the rights and starts processes,
// binds sockets, opens files and keeps their descriptors, and
// host/spawner/client, which asks for them.
package spawner

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner/message"
)

const maxRights = 4 // descriptors with a message

// How a manager is told what it is: the descriptor on which it asks its spawner,
// and the variable that says so.
const (
	ManagerFD   = 3
	ManagerMark = "HOST_SPAWNER_FD"
	// RestartsMark says how often the manager was started again.
	RestartsMark = "HOST_MANAGER_RESTARTS"
)

// What can be asked for.
const (
	AsksHello  byte = iota + 1 // which directories the daemon uses; first
	AsksBind                   // a socket
	AsksSet                    // settings of a socket
	AsksRetire                 // that a socket gets nothing new
	AsksOpen                   // a file
	AsksClose                  // the end of a lease
	AsksDir                    // a private directory for a process
	AsksStart                  // a process; with the executable's descriptor
	AsksGive                   // a lease's descriptor for a process
	AsksSignal                 // a signal to a process and its group
	AsksHolder                 // who has a socket open, for people
	AsksSweep                  // the end of what a former manager left
)

// Request is one datagram from the client; Asks says which of the others
// counts.
type Request struct {
	ID     uint64
	Asks   byte
	Hello  Hello
	Bind   Bind
	Set    Settings // with Lease
	Open   Open
	Inodes []string // of sockets, for AsksHolder
	Lease  string   // of AsksSet, AsksRetire, AsksClose and AsksGive
	User   string   // of AsksDir
	Start  Start
	Number uint64 // of a process, for AsksGive and AsksSignal
	Signal int64
}

// Hello says which directories the daemon uses. They are taken from the first
// manager and cannot change while the spawner lives.
type Hello struct {
	StateDir  string // absolute; made where it is missing, for the manager's user
	PluginDir string // absolute; where executables come from. Empty: said later
}

// Bind asks for a socket. It is the caller's alone from then on, and gets
// nothing until Set.
type Bind struct {
	Network string // tcp, tcp4, tcp6, udp, udp4, udp6, unix, unixgram
	Address string // 127.0.0.1:80, [fe80::1%eth0]:80; [::]:80 with tcp is both families; /run/x.sock
	Key     string // of the resource: under it the next manager finds the socket again

	Device      string // lo
	FreeBind    bool
	Transparent bool
	ReusePort   bool // others may bind it too, from Set on

	// Over are leases with an overlapping address, from which this one takes
	// over: the port of 0.0.0.0:80 for 127.0.0.1:80.
	Over []string

	Settings Settings
}

// Same reports whether two requests are for one socket.
func (b *Bind) Same(o *Bind) bool {
	return b.Network == o.Network && b.Address == o.Address && b.Key == o.Key && b.Device == o.Device &&
		b.FreeBind == o.FreeBind && b.Transparent == o.Transparent && b.ReusePort == o.ReusePort
}

func (b *Bind) fields(c *message.Coder) {
	for _, v := range []*string{&b.Network, &b.Address, &b.Key, &b.Device} {
		c.Text(v)
	}
	for _, v := range []*bool{&b.FreeBind, &b.Transparent, &b.ReusePort} {
		c.Bool(v)
	}
	c.Texts(&b.Over)
	b.Settings.fields(c)
}

// Settings are what can be changed about a socket while it serves.
type Settings struct {
	Backlog       int    // connections that may wait; 0 for what the kernel allows
	Mode          uint32 // of the file of a unix socket
	UID           int    // likewise; -1 for the spawner's
	GID           int
	ReceiveBuffer int // bytes; 0 for the kernel's default
	SendBuffer    int
	KeepAlive     int // seconds of silence before TCP asks; 0 for never
}

func (s *Settings) fields(c *message.Coder) {
	mode := int(s.Mode)
	for _, v := range []*int{&s.Backlog, &mode, &s.UID, &s.GID, &s.ReceiveBuffer, &s.SendBuffer, &s.KeepAlive} {
		n := int64(*v)
		c.Int(&n)
		if n < -1 || n > math.MaxInt32 {
			c.Fail(errors.New("a setting is out of range"))
		}
		*v = int(n)
	}
	s.Mode = uint32(mode & 0o7777)
}

// Open asks for a file.
type Open struct {
	Path   string // absolute
	Access string // read, append, write, directory
}

// Names of what a process may require, and of what a machine may lack.
const (
	Memory    = "memory"
	CPU       = "cpu"
	Processes = "processes"
	Landlock  = "landlock"
	Seccomp   = "seccomp"
	Sandbox   = "sandbox" // all that confines it
)

// Start asks for a process.
type Start struct {
	Argv   []string
	Env    []string // all there is
	Dir    string   // its private directory, from Client.Dir
	User   string   // empty: the manager's
	Digest string   // SHA-256 of the executable, hex; empty: whatever it is
	State  string   // name of its directory below the state directory; empty: none

	Memory   int64 // bytes, 0 for no limit; likewise below
	CPU      int64 // thousandths of a processor
	Procs    int64 // processes and threads
	Files    int64 // open descriptors
	FileSize int64 // bytes of one file
	Core     int64 // bytes of a core dump; 0 for none

	Write   []string // directories that it may change
	Read    []string // and read, besides those of the system
	Network bool     // it may make internet sockets
	Free    bool     // no sandbox: it runs programs that are not known before
	Require []string // names of what must not be missing: Memory, CPU, …
}

// Reply is one datagram to the client: the answer to request ID, or, when that
// is 0, the end of a process.
type Reply struct {
	ID      uint64
	Kind    Kind // of the error; empty: none
	Message string
	Lease   string
	Address string
	Waiting bool // something is left in the queue of a retired lease
	Process uint64
	Pid     int64
	Texts   []string // what is missing, each "name: why"
	Exit    Exit
}

// Exit is how a process ended.
type Exit struct {
	Code   int64  // -1 when ended by a signal
	Signal int64  // 0 when it ended by itself
	Core   bool   // it left a core dump
	Hit    string // the limit of its group that it reached: Memory, Processes or none
	Limit  int64  // what that is: bytes, or processes
	MaxRSS int64  // bytes of memory that it used at most
}

// Fields describes a Request for both directions.
func (r *Request) Fields(c *message.Coder) {
	c.Uint(&r.ID)
	c.Byte(&r.Asks)
	switch r.Asks {
	case AsksHello:
		c.Text(&r.Hello.StateDir)
		c.Text(&r.Hello.PluginDir)
	case AsksBind:
		r.Bind.fields(c)
	case AsksSet:
		c.Text(&r.Lease)
		r.Set.fields(c)
	case AsksOpen:
		c.Text(&r.Open.Path)
		c.Text(&r.Open.Access)
	case AsksClose, AsksRetire:
		c.Text(&r.Lease)
	case AsksDir:
		c.Text(&r.User)
	case AsksStart:
		r.Start.fields(c)
	case AsksGive:
		c.Uint(&r.Number)
		c.Text(&r.Lease)
	case AsksSignal:
		c.Uint(&r.Number)
		c.Int(&r.Signal)
	case AsksHolder:
		c.Texts(&r.Inodes)
	case AsksSweep:
	default:
		c.Fail(fmt.Errorf("there is no request %d", r.Asks))
	}
}

func (s *Start) fields(c *message.Coder) {
	c.Texts(&s.Argv)
	c.Texts(&s.Env)
	for _, v := range []*string{&s.Dir, &s.User, &s.Digest, &s.State} {
		c.Text(v)
	}
	for _, v := range []*int64{&s.Memory, &s.CPU, &s.Procs, &s.Files, &s.FileSize, &s.Core} {
		c.Int(v)
		if *v < 0 {
			c.Fail(errors.New("a limit is below zero"))
		}
	}
	for _, v := range []*[]string{&s.Write, &s.Read, &s.Require} {
		c.Texts(v)
	}
	c.Bool(&s.Network)
	c.Bool(&s.Free)
}

// Fields describes a Reply for both directions.
func (r *Reply) Fields(c *message.Coder) {
	c.Uint(&r.ID)
	c.Text((*string)(&r.Kind))
	for _, v := range []*string{&r.Message, &r.Lease, &r.Address} {
		c.Text(v)
	}
	c.Bool(&r.Waiting)
	c.Uint(&r.Process)
	c.Int(&r.Pid)
	c.Texts(&r.Texts)
	for _, v := range []*int64{&r.Exit.Code, &r.Exit.Signal, &r.Exit.MaxRSS, &r.Exit.Limit} {
		c.Int(v)
	}
	c.Bool(&r.Exit.Core)
	c.Text(&r.Exit.Hit)
}

// Send writes one message with descriptors.
func Send(c *net.UnixConn, fields func(*message.Coder), fds ...int) error {
	b, err := message.Encode(fields)
	if err != nil {
		return &Error{Kind: Invalid, Message: err.Error()}
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix(b, rights, nil)
	return err
}

// Receive reads one message and returns its descriptors, which are the caller's
// to close, also when there is an error.
func Receive(c *net.UnixConn, buf []byte, fields func(*message.Coder)) (fds []int, err error) {
	oob := make([]byte, unix.CmsgSpace(maxRights*4))
	n, oobn, flags, _, err := c.ReadMsgUnix(buf, oob) // Go sets MSG_CMSG_CLOEXEC
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
	if err := message.Decode(buf[:n], fields); err != nil {
		return fds, &Error{Kind: Invalid, Message: "not a message: " + err.Error()}
	}
	return fds, nil
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

// CloseAll closes descriptors.
func CloseAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// Socketpair returns two connected unix sockets that close on exec.
func Socketpair(kind int) (a, b int, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	return p[0], p[1], nil
}

// Conn takes over the descriptor of a unix socket.
func Conn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "socketpair")
	defer func() { _ = f.Close() }() // FileConn has its own
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, errors.New("the descriptor is no unix socket")
	}
	return u, nil
}

// Hide keeps other processes of this user from looking into this one, and gives
// it a name in the list of processes.
func Hide(name string) error {
	// The other way round the file would be root's.
	err := os.WriteFile("/proc/self/comm", []byte(name), 0)
	return errors.Join(err, os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)))
}

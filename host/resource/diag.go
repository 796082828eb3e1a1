package resource

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/resource/address"
)

// Of linux/inet_diag.h: a request about sockets of one kind, and how its parts and
// those of an answer are laid out, in bytes.
const (
	diagRequest = 56
	diagStates  = 4 // after family, protocol and two that are not used
	diagPort    = 8 // local, in the order of the network

	diagAnswer = 72
	diagLocal  = 4 // port, then the peer's, then the address
	diagUID    = 64
	diagInode  = 68

	diagListen  = 10 // the state of a listening socket
	diagTimeout = 1  // s
)

// listeners asks the kernel for the listening TCP sockets on a port. The tables in
// /proc/net tell of connections, too: where many were closed a moment ago, to find
// no listener of IPv6 took 4 ms, in which nobody else had the processor.
func listeners(family uint8, a address.Address) ([]entry, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: diagTimeout}); err != nil {
		return nil, err
	}
	b := make([]byte, unix.SizeofNlMsghdr+diagRequest)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	ask := b[unix.SizeofNlMsghdr:]
	ask[0], ask[1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(ask[diagStates:], 1<<diagListen)
	binary.BigEndian.PutUint16(ask[diagPort:], a.Addr.Port())
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	var found []entry
	buf := make([]byte, 32<<10) // as large as the kernel makes its messages
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return nil, err
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return found, nil
			case unix.NLMSG_ERROR: // there is no such request here
				return nil, unix.EOPNOTSUPP
			}
			if e, local, ok := diagnosed(m.Data); ok && inTheWay(local, a) {
				found = append(found, e)
			}
		}
	}
}

// diagnosed reads an answer.
func diagnosed(b []byte) (e entry, local netip.AddrPort, ok bool) {
	if len(b) < diagAnswer {
		return e, local, false
	}
	size := map[byte]int{unix.AF_INET: 4, unix.AF_INET6: 16}[b[0]]
	ip, ok := netip.AddrFromSlice(b[diagLocal+4:][:size])
	local = netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[diagLocal:]))
	number := func(at int) string {
		return strconv.FormatUint(uint64(binary.NativeEndian.Uint32(b[at:])), 10)
	}
	return entry{inode: number(diagInode), uid: number(diagUID)}, local, ok
}

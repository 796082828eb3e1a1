package resource

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"os/user"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/resource/address"
)

// holder names the process that holds an address, as far as this process may
// know: it reads the kernel's tables, then asks who has the socket among the
// descriptors of all processes. Where those are hidden, the table still says
// which user it is.
func holder(a address.Address, who func(inodes []string) string) string {
	var found []entry
	if a.IsPath() {
		found = unixEntries(a.Path)
	} else {
		found = portEntries(a)
	}
	if len(found) == 0 {
		return ""
	}
	var inodes []string
	for _, e := range found {
		inodes = append(inodes, e.inode)
	}
	if name := who(inodes); name != "" {
		return name
	}
	if uid := found[0].uid; uid != "" {
		if u, err := user.LookupId(uid); err == nil {
			return "a process of user " + u.Username
		}
		return "a process of user " + uid
	}
	return ""
}

// entry is a socket in a table of the kernel.
type entry struct{ inode, uid string }

// portEntries returns the bound sockets that stand in the way of an address: on
// its port, on the same address or on any. Those that are bound and do not listen
// are told of nowhere.
func portEntries(a address.Address) (found []entry) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if a.Network == "tcp" {
			if of, err := listeners(family, a); err == nil {
				found = append(found, of...)
				continue
			}
		}
		suffix := map[uint8]string{unix.AF_INET6: "6"}[family]
		if f, err := os.Open("/proc/net/" + a.Network + suffix); err == nil {
			found = append(found, portRows(f, a)...)
			_ = f.Close()
		}
	}
	return found
}

// inTheWay reports whether a socket on a local address keeps others from it.
func inTheWay(local netip.AddrPort, a address.Address) bool {
	ip, want := local.Addr().Unmap(), a.Addr.Addr().WithZone("")
	return local.Port() == a.Addr.Port() && (ip == want || ip.IsUnspecified() || want.IsUnspecified())
}

// portRows reads no further than it has to. The kernel tells of the listening
// sockets of TCP before the connections, and where many were closed a moment
// ago it takes a second to tell of these.
func portRows(table io.Reader, a address.Address) []entry {
	const listening, unconnected = "0A", "07"
	var found []entry
	lines := bufio.NewScanner(table)
	lines.Scan() // names of the columns
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[3] != listening && f[3] != unconnected {
			if a.Network == "tcp" {
				break
			}
			continue
		}
		local, ok := parseProcAddr(f[1])
		if ok && inTheWay(local, a) {
			found = append(found, entry{inode: f[9], uid: f[7]})
		}
	}
	return found
}

// unixEntries returns the sockets at a path.
func unixEntries(path string) []entry {
	b, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return nil
	}
	var found []entry
	for _, line := range strings.Split(string(b), "\n")[1:] {
		// Num RefCount Protocol Flags Type St Inode Path
		if f := strings.Fields(line); len(f) > 7 && strings.HasSuffix(line, " "+path) {
			found = append(found, entry{inode: f[6]})
		}
	}
	return found
}

// parseProcAddr reads 0100007F:1F90: 32-bit words in the machine's order, as
// the kernel prints them, and the port.
func parseProcAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	p, perr := hex.DecodeString(port)
	if !ok || err != nil || perr != nil || len(b)%4 != 0 || len(p) != 2 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(p)), ok
}

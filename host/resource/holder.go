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
		for _, table := range []string{a.Network, a.Network + "6"} {
			found = append(found, portEntries("/proc/net/"+table, a)...)
		}
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

// portEntries returns the bound sockets in a table of /proc/net that stand in
// the way of an address: on its port, on the same address or on any. Those that
// are bound and do not listen are in no table.
func portEntries(table string, a address.Address) []entry {
	f, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	return portRows(f, a)
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
		if !ok || local.Port() != a.Addr.Port() {
			continue
		}
		ip, want := local.Addr().Unmap(), a.Addr.Addr().WithZone("")
		if ip == want || ip.IsUnspecified() || want.IsUnspecified() {
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

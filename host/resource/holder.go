package resource

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/pluginhost/host/host/spawner"
)

// maxScan bounds how many descriptors of other processes are looked at.
const maxScan = 100_000

// holder names the process that holds an address, as far as this process may
// know: it reads the kernel's tables, then looks for the socket among the
// descriptors of all processes.
func holder(b spawner.Bind) string {
	at, err := netip.ParseAddrPort(b.Address)
	if err != nil {
		return ""
	}
	inodes := map[string]bool{}
	for _, table := range []string{b.Network[:3], b.Network[:3] + "6"} {
		for _, inode := range sockets("/proc/net/"+table, at) {
			inodes["socket:["+inode+"]"] = true
		}
	}
	if len(inodes) == 0 {
		return ""
	}
	looked := 0
	dirs, _ := filepath.Glob("/proc/[0-9]*/fd")
	for _, dir := range dirs {
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue // another user's, or gone
		}
		for _, fd := range fds {
			if looked++; looked > maxScan {
				return ""
			}
			if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && inodes[to] {
				proc := filepath.Dir(dir)
				name, _ := os.ReadFile(filepath.Join(proc, "comm"))
				return fmt.Sprintf("%s (pid %s)", bytes.TrimSpace(name), filepath.Base(proc))
			}
		}
	}
	return ""
}

// sockets returns the inodes of the bound sockets in a table of /proc/net that
// stand in the way of an address: on its port, on the same address or on any.
func sockets(table string, at netip.AddrPort) []string {
	b, err := os.ReadFile(table)
	if err != nil {
		return nil
	}
	const listening, unconnected = "0A", "07"
	var inodes []string
	for _, line := range strings.Split(string(b), "\n")[1:] {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != listening && f[3] != unconnected {
			continue
		}
		local, ok := parseProcAddr(f[1])
		if !ok || local.Port() != at.Port() {
			continue
		}
		a := local.Addr().Unmap()
		if a == at.Addr() || a.IsUnspecified() || at.Addr().IsUnspecified() {
			inodes = append(inodes, f[9])
		}
	}
	return inodes
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

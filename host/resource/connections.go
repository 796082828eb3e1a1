package resource

import (
	"bufio"
	"net/netip"
	"os"
	"strings"
)

// Connections counts the open connections of listeners, each written as the
// Address of a Lease, as the kernel's tables have them. Those that wait to be
// accepted count; a listener of datagrams has none.
func Connections(listeners []string) map[string]int {
	counts := map[string]int{}
	var tcp, unix bool
	for _, l := range listeners {
		tcp = tcp || strings.HasPrefix(l, "tcp")
		unix = unix || strings.HasPrefix(l, "unix://")
	}
	if tcp {
		open := map[uint16]map[netip.Addr]int{} // by local port and address
		for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
			rows(table, func(f []string) {
				const established, closeWait = "01", "08"
				if len(f) < 4 || f[3] != established && f[3] != closeWait {
					return
				}
				if at, ok := parseProcAddr(f[1]); ok {
					if open[at.Port()] == nil {
						open[at.Port()] = map[netip.Addr]int{}
					}
					open[at.Port()][at.Addr().Unmap()]++
				}
			})
		}
		for _, l := range listeners {
			_, rest, _ := strings.Cut(l, "://")
			at, err := netip.ParseAddrPort(rest)
			if err != nil || !strings.HasPrefix(l, "tcp") {
				continue
			}
			for local, n := range open[at.Port()] {
				if at.Addr().IsUnspecified() || at.Addr().Unmap() == local {
					counts[l] += n
				}
			}
		}
	}
	if unix {
		const connected = "03"
		rows("/proc/net/unix", func(f []string) {
			if len(f) > 7 && f[5] == connected {
				counts["unix://"+f[7]]++
			}
		})
	}
	return counts
}

// rows passes the fields of each line of a table but the first.
func rows(table string, row func(fields []string)) {
	f, err := os.Open(table)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	s := bufio.NewScanner(f)
	s.Scan()
	for s.Scan() {
		row(strings.Fields(s.Text()))
	}
}

// Package holder finds out which process holds a socket: the spawner's rights
// see the descriptors of all. It only reads.
package holder

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// How many descriptors of other processes are looked at, and for how long: a
// name is a help, and others wait for the spawner meanwhile.
const (
	maxScan  = 100_000
	scanTime = 200 * time.Millisecond
)

// search looks for sockets among the descriptors of processes.
type search struct {
	inodes map[string]bool
	looked int
	end    time.Time
}

// Name returns the name and the pid of who has one of the sockets open, each
// given as /proc/PID/fd shows it, or "" where that is not found.
func Name(inodes map[string]bool) string {
	s := search{inodes: inodes, end: time.Now().Add(scanTime)}
	if pid := s.find(); pid != "" {
		return named(pid)
	}
	return ""
}

// find looks no further than it has to: whoever serves wants the processors too.
func (s *search) find() (pid string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if s.looked > maxScan || time.Now().After(s.end) {
			break
		}
		if pid := filepath.Base(dir); s.has(pid) {
			return s.eldest(pid)
		}
	}
	return ""
}

// eldest returns from whom a process got the socket: that is the one to stop.
func (s *search) eldest(pid string) string {
	for up := parent(pid); s.has(up); up = parent(pid) {
		pid = up
	}
	return pid
}

// has reports whether a process has one of the sockets open.
func (s *search) has(pid string) bool {
	dir := "/proc/" + pid + "/fd"
	d, err := os.Open(dir)
	if err != nil {
		return false // another user's, or gone
	}
	fds, _ := d.Readdirnames(maxScan) // those that could be read
	_ = d.Close()
	for _, fd := range fds {
		if s.looked++; s.looked > maxScan || s.looked%128 == 0 && time.Now().After(s.end) {
			return false
		}
		if to, err := os.Readlink(dir + "/" + fd); err == nil && s.inodes[to] {
			return true
		}
	}
	return false
}

// parent returns the pid of a process's parent, or "".
func parent(pid string) string {
	b, _ := os.ReadFile("/proc/" + pid + "/stat") // pid (name) state ppid …
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 2 {
		return ""
	}
	return f[1]
}

// named returns a process's name and pid. One that was executed by a
// descriptor has its number for a name: what it calls itself is better.
func named(pid string) string {
	b, _ := os.ReadFile("/proc/" + pid + "/comm")
	name := string(bytes.TrimSpace(b))
	if strings.Trim(name, "0123456789") == "" {
		b, _ = os.ReadFile("/proc/" + pid + "/cmdline")
		arg, _, _ := bytes.Cut(b, []byte{0})
		name = filepath.Base(string(arg))
	}
	return fmt.Sprintf("%s (pid %s)", name, pid)
}

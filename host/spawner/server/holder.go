package server

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// How many descriptors of other processes are looked at, and for how long: a
// name is a help, and others wait for the spawner meanwhile.
const (
	maxScan  = 100_000
	scanTime = 200 * time.Millisecond
)

// holder finds who has one of the sockets open. Of several it names one that
// did not get it from another of them: that is the one to stop.
func holder(inodes map[string]bool) string {
	looked, end := 0, time.Now().Add(scanTime)
	holders := map[string]bool{} // by pid
	dirs, _ := filepath.Glob("/proc/[0-9]*/fd")
	for _, dir := range dirs {
		d, err := os.Open(dir)
		if err != nil {
			continue // another user's, or gone
		}
		fds, _ := d.Readdirnames(maxScan) // those that could be read
		_ = d.Close()
		for _, fd := range fds {
			if looked++; looked > maxScan || looked%128 == 0 && time.Now().After(end) {
				break
			}
			if to, err := os.Readlink(dir + "/" + fd); err == nil && inodes[to] {
				holders[filepath.Base(filepath.Dir(dir))] = true
				break
			}
		}
	}
	pids := slices.Sorted(maps.Keys(holders))
	for _, pid := range pids {
		if !holders[parent(pid)] {
			return named(pid)
		}
	}
	return ""
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

package client

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner/cgroup"
)

// Notes says which limits a running process is at, each a line for people with
// what to do. It reads what the kernel counts, which takes no rights; what the
// kernel does not count (what Landlock and seccomp deny) is not there.
func (p *Process) Notes() (notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	g := groupsOf(p.Pid)
	if refused := g.number(cgroup.Pids, "pids.events", "pids.events", "max"); refused > 0 {
		note("reached its limit of %d processes and threads, %d more were refused (process { processes })", g.number(cgroup.Pids, "pids.max", "pids.max", ""), refused)
	}
	limit := g.number(cgroup.Memory, "memory.max", "memory.limit_in_bytes", "")
	used := g.number(cgroup.Memory, "memory.stat", "memory.stat", "anon") + g.number(cgroup.Memory, "memory.stat", "memory.stat", "shmem") +
		g.number(cgroup.Memory, "memory.stat", "memory.stat", "total_rss") // version 1 counts shmem in the cache
	if limit > 0 && used >= limit/10*9 {
		note("uses %d of the %d MiB of its memory limit; the kernel ends it at that (process { memory })", used>>20, limit>>20)
	}
	open, most := descriptors(p.Pid)
	if most > 0 && open >= most {
		note("has reached its %d open descriptors (process { open_files })", most)
	}
	return notes
}

// Yields reports whether the process yields to those of other plugins.
func (p *Process) Yields() bool {
	return groupsOf(p.Pid).number(cgroup.CPU, "cpu.idle", "cpu.idle", "") == 1
}

// groups are the directories of a process's groups: by controller, version 2
// under "".
type groups map[string]string

func groupsOf(pid int) groups {
	g := groups{}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid)) // it may have ended
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for _, c := range strings.Split(f[1], ",") {
			g[c] = filepath.Join(cgroup.Mount, c, f[2])
		}
		if f[1] == "" && !is2(cgroup.Mount) {
			g[""] = filepath.Join(cgroup.Mount, "unified", f[2])
		}
	}
	return g
}

func is2(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// number reads the number of a line "name number", or the only one of the file.
// It is 0 where there is none, or it says max.
func (g groups) number(controller, file2, file1, name string) int64 {
	dir, file := g[controller], file1
	if dir == "" {
		dir, file = g[""], file2
	}
	if dir == "" {
		return 0
	}
	b, _ := os.ReadFile(filepath.Join(dir, file))
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) > 0 && (name == "" || len(f) == 2 && f[0] == name) {
			n, _ := strconv.ParseInt(f[len(f)-1], 10, 64)
			return n
		}
	}
	return 0
}

// descriptors are how many a process has open, which Linux 6.2 tells, and may have.
func descriptors(pid int) (open, most int64) {
	var st unix.Stat_t
	_ = unix.Stat(fmt.Sprintf("/proc/%d/fd", pid), &st) // none then
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			_, _ = fmt.Sscan(rest, &most)
		}
	}
	return st.Size, most
}

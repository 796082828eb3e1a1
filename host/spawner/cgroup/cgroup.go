// Package cgroup puts each plugin process into a control group of its own, so
// that what it may use is bounded with all its descendants, and none escapes
// its end. It knows version 2, version 1, and machines that give neither: what
// is missing is named, and the caller decides. host/spawner is its caller.
package cgroup

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Mount is where control groups are mounted.
const Mount = "/sys/fs/cgroup"

// Controllers that limits need.
const (
	Memory = "memory"
	CPU    = "cpu"
	Pids   = "pids"
	Idle   = "idle" // no controller: that groups can yield
)

// Limits of one group; 0 is none.
type Limits struct {
	Memory int64  // bytes
	CPU    int64  // thousandths of one processor
	Pids   int64  // processes and threads
	Of     string // whose: groups of one name yield together, also those that come after
}

// Tree is the part of the hierarchy that is ours.
type Tree struct {
	name string
	all  *Group            // directories below which groups are made
	on   map[string]bool   // controllers of version 2
	why  map[string]string // controllers that there are not, and why

	manager *Group // goes before those that yield; nil until it is there

	stop, stopped chan struct{}

	mu     sync.Mutex
	groups map[*Group]bool
	users  map[string]*user // by Limits.Of
	close  bool             // each was looked at the last time
}

// Open finds where groups can be made. It never fails: Lacks says what is
// missing. name is the directory that is ours alone. Close it.
func Open(name string) *Tree {
	t := open(name)
	go t.watch()
	return t
}

// open is Open, and nobody looks at what is used.
func open(name string) *Tree {
	t := &Tree{name: name, all: &Group{dirs: map[string]string{}}, on: map[string]bool{}, why: map[string]string{},
		stop: make(chan struct{}), stopped: make(chan struct{}), groups: map[*Group]bool{}, users: map[string]*user{}}
	own := paths()
	for _, at := range []string{Mount, filepath.Join(Mount, "unified")} {
		var fs unix.Statfs_t
		if unix.Statfs(at, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			t.open2(at, own[""])
			break
		}
	}
	for _, c := range []string{Memory, CPU, Pids, places} {
		if !t.on[c] {
			t.open1(c, own[c])
		}
	}
	if t.all.dirs[CPU] != "" {
		t.open1(account, own[account])
	}
	t.place()
	if err := t.all.set(CPU, "cpu.idle", "cpu.idle", "0", "0"); err != nil {
		t.why[Idle] = err.Error()
	}
	return t
}

// paths reads this process's groups: by controller, and "" for version 2.
func paths() map[string]string {
	own := map[string]string{}
	b, _ := os.ReadFile("/proc/self/cgroup")
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 {
			continue
		}
		for _, c := range strings.Split(f[1], ",") {
			own[c] = f[2]
		}
	}
	return own
}

// open2 makes our directory in version 2: below our own group where that is
// delegated to us, else at the top where we are root.
func (t *Tree) open2(mount, own string) {
	wanted := []string{Memory, CPU, Pids, places}
	try := func(parent string) error {
		there, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
		if err != nil {
			return err
		}
		have := strings.Fields(string(there))
		sweep(parent)
		dir := filepath.Join(parent, t.name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		// A group with processes of its own cannot hand controllers down, and
		// only the top one may have both.
		if parent != mount {
			self := filepath.Join(dir, "spawner")
			if err := os.Mkdir(self, 0o755); err == nil || errors.Is(err, os.ErrExist) {
				_ = write(filepath.Join(self, "cgroup.procs"), strconv.Itoa(os.Getpid()))
			}
		}
		for _, c := range wanted {
			if !slices.Contains(have, c) {
				continue
			}
			err := write(filepath.Join(parent, "cgroup.subtree_control"), "+"+c)
			if err == nil {
				err = write(filepath.Join(dir, "cgroup.subtree_control"), "+"+c)
			}
			if err != nil {
				t.why[c] = err.Error()
				continue
			}
			t.on[c] = true
		}
		t.all.dirs[""] = dir
		return nil
	}
	err := try(filepath.Join(mount, own))
	if (err != nil || len(t.on) == 0) && own != "/" && os.Geteuid() == 0 {
		err = try(mount)
	}
	if err != nil {
		for _, c := range wanted {
			t.why[c] = err.Error()
		}
	}
}

// open1 makes our directory in the hierarchy of one controller of version 1.
func (t *Tree) open1(controller, own string) {
	mount := filepath.Join(Mount, controller)
	if _, err := os.Stat(filepath.Join(mount, "cgroup.procs")); err != nil {
		if t.why[controller] == "" {
			t.why[controller] = "there is no " + controller + " controller in " + Mount
		}
		return
	}
	sweep(filepath.Join(mount, own))
	dir := filepath.Join(mount, own, t.name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		t.why[controller] = err.Error()
		return
	}
	t.all.dirs[controller] = dir
	delete(t.why, controller)
}

// sweep removes what is left of spawners that were killed: empty groups below
// host-PID… of processes that are gone.
func sweep(parent string) {
	old, _ := filepath.Glob(filepath.Join(parent, "host-[0-9]*.*"))
	for _, dir := range old {
		if !Abandoned(dir) {
			continue
		}
		groups, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, g := range groups {
			_ = unix.Rmdir(g) // a file, or one that is in use, stays
		}
		_ = unix.Rmdir(dir)
	}
}

// Abandoned reports whether a directory named host-PID.… is of a process that
// is gone.
func Abandoned(dir string) bool {
	name, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), "host-"), ".")
	pid, err := strconv.Atoi(name)
	return err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// Lacks says why a controller cannot be used, or "".
func (t *Tree) Lacks(controller string) string { return t.why[controller] }

// Close removes our directories; the groups in them must have ended.
func (t *Tree) Close() {
	close(t.stop)
	<-t.stopped
	if t.manager != nil {
		t.manager.Remove()
	}
	if dir := t.all.dirs[""]; dir != "" {
		// This process may sit in it; it goes back to where it came from.
		_ = write(filepath.Join(filepath.Dir(dir), "cgroup.procs"), strconv.Itoa(os.Getpid()))
		_ = os.Remove(filepath.Join(dir, "spawner"))
	}
	for _, dir := range t.all.dirs {
		_ = os.Remove(dir)
	}
}

// MachineMemory is how many bytes of memory there are, 0 where that is not known.
func MachineMemory() int64 {
	var info unix.Sysinfo_t
	_ = unix.Sysinfo(&info)                        // it is zero then
	return int64(info.Totalram) * int64(info.Unit) //nolint:unconvert // the type of Totalram differs by machine
}

// Group is one process with its descendants.
type Group struct {
	dirs   map[string]string // by controller; version 2 under ""
	limits Limits
	tree   *Tree
	used   time.Duration // of processors, when that was looked at last
	yields int
}

// New makes a group. missing names the controllers whose limit was asked for
// and cannot be set.
func (t *Tree) New(name string, l Limits) (g *Group, missing []string) {
	g = &Group{dirs: map[string]string{}, limits: l, tree: t}
	for c, parent := range t.all.dirs {
		if dir := filepath.Join(parent, name); os.Mkdir(dir, 0o755) == nil {
			g.dirs[c] = dir
		}
	}
	if l.Memory > 0 {
		v := strconv.FormatInt(l.Memory, 10)
		err := g.set(Memory, "memory.max", "memory.limit_in_bytes", v, v)
		if err != nil {
			missing = append(missing, Memory)
		} else {
			// No way out through swap, and all of it ends together.
			_ = g.set(Memory, "memory.swap.max", "memory.memsw.limit_in_bytes", "0", v)
			_ = g.set(Memory, "memory.oom.group", "", "1", "")
		}
	}
	if l.CPU > 0 {
		const period = 100_000 // µs
		quota := strconv.FormatInt(max(l.CPU*period/1000, 1000), 10)
		if g.set(CPU, "cpu.max", "cpu.cfs_quota_us", quota+" "+strconv.Itoa(period), quota) != nil {
			missing = append(missing, CPU)
		}
	}
	if l.Pids > 0 {
		v := strconv.FormatInt(l.Pids, 10)
		if g.set(Pids, "pids.max", "pids.max", v, v) != nil {
			missing = append(missing, Pids)
		}
	}
	t.enter(g)
	return g, missing
}

// set writes a limit in whichever version has the controller.
func (g *Group) set(controller, file2, file1, value2, value1 string) error {
	if dir := g.dirs[controller]; dir != "" && file1 != "" {
		return write(filepath.Join(dir, file1), value1)
	}
	if dir := g.dirs[""]; dir != "" {
		return write(filepath.Join(dir, file2), value2)
	}
	return errors.New("no such controller")
}

// Add puts a process into the group.
func (g *Group) Add(pid int) error {
	for _, dir := range g.dirs {
		if err := write(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// Kill ends all processes of the group, also those that left its session.
func (g *Group) Kill() {
	if dir := g.dirs[""]; dir != "" && write(filepath.Join(dir, "cgroup.kill"), "1") == nil {
		return
	}
	for range 100 { // who forks meanwhile is met again
		any := false
		for _, dir := range g.dirs {
			b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			for _, f := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(f); err == nil && pid > 1 {
					any = true
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
		}
		if !any {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Hit names the limit of the group that was reached, or "", and says what it is.
func (g *Group) Hit() (controller string, limit int64) {
	switch {
	case g.number(Memory, "memory.events", "memory.oom_control", "oom_kill") > 0:
		return Memory, g.limits.Memory
	case g.number(Pids, "pids.events", "pids.events", "max") > 0:
		return Pids, g.limits.Pids
	}
	return "", 0
}

// number reads a number from a file of "name number" lines.
func (g *Group) number(controller, file2, file1, name string) int {
	dir, file := g.dirs[controller], file1
	if dir == "" {
		dir, file = g.dirs[""], file2
	}
	if dir == "" {
		return 0
	}
	b, _ := os.ReadFile(filepath.Join(dir, file))
	for _, line := range bytes.Split(b, []byte("\n")) {
		f := strings.Fields(string(line))
		if len(f) == 2 && f[0] == name {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

// Remove removes the group; it waits a moment for the last of its processes.
func (g *Group) Remove() {
	if g.tree != nil {
		g.tree.leave(g)
	}
	for _, dir := range g.dirs {
		for range 100 {
			if err := unix.Rmdir(dir); !errors.Is(err, unix.EBUSY) {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// write writes to a file that exists.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

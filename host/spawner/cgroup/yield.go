package cgroup

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// The kernel shares processors out fairly, but lets whoever wakes wait until a
// tick ends the turn of whoever runs, at each process that an event passes. So
// that who uses most of the machine yields: it runs whenever no other plugin
// wants to, and is put off at once when one does. It may still use everything.
const (
	account = "cpuacct" // counts in version 1
	first   = "manager" // the group of the process that no plugin goes before

	look = 100 * time.Millisecond
	calm = 20 // looks in a row at which it used less, until it yields no more
)

// user is what the groups of one name used together.
type user struct {
	used   time.Duration // since the last look
	calm   int
	groups int
}

// First puts a process before those that yield. Without the controller it does
// nothing.
func (t *Tree) First(pid int) error {
	dir := t.v1[CPU]
	if dir == "" && t.on[CPU] {
		dir = t.v2
	}
	if dir == "" {
		return nil
	}
	_ = os.Mkdir(filepath.Join(dir, first), 0o755) // it may be there: the process is started again
	return write(filepath.Join(dir, first, "cgroup.procs"), strconv.Itoa(pid))
}

// enter has a group watched. Who yielded before, yields on.
func (t *Tree) enter(g *Group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users[g.limits.Of]
	if u == nil {
		u = &user{calm: calm}
		t.users[g.limits.Of] = u
	}
	t.groups[g] = true
	u.groups++
	g.yield(u.calm < calm)
}

func (t *Tree) leave(g *Group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.groups[g] {
		t.users[g.limits.Of].groups--
		delete(t.groups, g)
	}
}

// watch looks until the tree is closed.
func (t *Tree) watch() {
	defer close(t.stopped)
	tick := time.NewTicker(look)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-t.stop:
			return
		case <-tick.C:
		}
		now := time.Now()
		t.look(now.Sub(last) * time.Duration(runtime.NumCPU()) * 3 / 4)
		last = now
	}
}

// look has those yield who used more than most since the last look, or did a
// short time ago.
func (t *Tree) look(most time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for g := range t.groups {
		if used := g.usage(); used > g.used {
			t.users[g.limits.Of].used += used - g.used
			g.used = used
		}
	}
	for name, u := range t.users {
		if u.calm = min(u.calm+1, calm); u.used > most {
			u.calm = 0
		}
		if u.used = 0; u.groups == 0 && u.calm == calm {
			delete(t.users, name)
		}
	}
	for g := range t.groups {
		g.yield(t.users[g.limits.Of].calm < calm)
	}
}

// yield has the group yield or not. Kernels before 5.15 have no such thing.
func (g *Group) yield(on bool) {
	if g.yields == on {
		return
	}
	v := map[bool]string{false: "0", true: "1"}[on]
	_ = g.set(CPU, "cpu.idle", "cpu.idle", v, v)
	g.yields = on
}

// usage is how long the group has used processors, 0 where nobody counts.
func (g *Group) usage() time.Duration {
	for _, c := range []string{account, CPU} { // often one directory
		if b, err := os.ReadFile(filepath.Join(g.dirs[c], "cpuacct.usage")); err == nil {
			n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
			return time.Duration(n)
		}
	}
	return time.Duration(g.count(CPU, "cpu.stat", "", "usage_usec")) * time.Microsecond
}

package cgroup

import (
	"cmp"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel shares processors out fairly, but lets whoever wakes wait until a
// tick ends the turn of whoever runs, at each process that an event passes. So
// who uses most of what all use yields. It runs whenever no other plugin wants to
// (cpu.idle); as long as others use processors at all, on half of them only, and
// they have the rest alone: fairness gives also who yields its turns, of a tick
// each, and inside the kernel nobody is put off.
const (
	account = "cpuacct" // counts in version 1
	places  = "cpuset"  // which processors

	look = 100 * time.Millisecond
	calm = 20 // looks in a row without it, until something is over
)

// How much a group yields.
const (
	not = iota
	last
	aside // last, and on half of the processors
)

// user is what the groups of one name used together.
type user struct {
	used   time.Duration // since the last look
	calm   int           // looks since it used most
	alone  int           // looks since others used something
	groups int
}

func (u *user) yields() int {
	switch {
	case u.calm >= calm:
		return not
	case u.alone >= calm:
		return last
	}
	return aside
}

// First puts a process into the group that goes before those that yield.
func (t *Tree) First(pid int) error {
	if t.manager == nil {
		t.manager, _ = t.New("manager", Limits{})
	}
	return t.manager.Add(pid)
}

// enter has a group watched. Who yielded before, yields on.
func (t *Tree) enter(g *Group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users[g.limits.Of]
	if u == nil {
		u = &user{calm: calm, alone: calm}
		t.users[g.limits.Of] = u
	}
	t.groups[g] = true
	u.groups++
	g.yield(u.yields())
}

func (t *Tree) leave(g *Group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.groups[g] {
		return
	}
	delete(t.groups, g)
	u := t.users[g.limits.Of]
	g.count(u)
	if u.groups--; u.groups == 0 && u.calm == calm {
		delete(t.users, g.limits.Of)
	}
}

// watch looks until the tree is closed.
func (t *Tree) watch() {
	defer close(t.stopped)
	tick := time.NewTicker(look)
	defer tick.Stop()
	for before := time.Now(); ; {
		select {
		case <-t.stop:
			return
		case <-tick.C:
		}
		now := time.Now()
		t.look(now.Sub(before), len(processors()))
		before = now
	}
}

// look reads what was used since the last look. As long as all together use little
// and nobody yields, it looks no closer.
func (t *Tree) look(d time.Duration, processors int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	machine := d * time.Duration(processors)
	var all user
	t.all.count(&all)
	close := all.used >= machine*3/8
	for _, u := range t.users {
		close = close || u.calm < calm
	}
	first := !t.close
	if t.close = close; !close {
		return
	}
	for g := range t.groups {
		g.count(t.users[g.limits.Of])
	}
	if first { // who knows since when
		for _, u := range t.users {
			u.used = 0
		}
	}
	t.judge(d, machine)
}

// judge has those yield who used most in a time, in which the machine can be used
// for so long, or did a short time ago.
func (t *Tree) judge(d, machine time.Duration) {
	var all time.Duration
	for _, u := range t.users {
		all += u.used
	}
	for name, u := range t.users {
		most, some := all*3/4, machine*3/8
		if u.calm < calm { // who yields has less already
			most, some = all/2, machine/8
		}
		u.calm, u.alone = min(u.calm+1, calm), min(u.alone+1, calm)
		if u.used > most && u.used > some && name != "" { // the manager has none
			u.calm = 0
		}
		if (all-u.used)*100 > d {
			u.alone = 0
		}
		if u.used = 0; u.groups == 0 && u.calm == calm {
			delete(t.users, name)
		}
	}
	for g := range t.groups {
		g.yield(t.users[g.limits.Of].yields())
	}
}

// place gives our directory of version 1 the processors of its parent, which the
// groups in it copy.
func (t *Tree) place() {
	dir := t.all.dirs[places]
	if dir == "" {
		return
	}
	err := write(filepath.Join(dir, "cgroup.clone_children"), "1")
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		b, _ := os.ReadFile(filepath.Join(filepath.Dir(dir), file)) // nothing cannot be written
		err = cmp.Or(err, write(filepath.Join(dir, file), string(b)))
	}
	if err != nil { // no process could enter
		_ = os.Remove(dir)
		delete(t.all.dirs, places)
		t.why[places] = err.Error()
	}
}

// processors are the numbers of those that this process may use.
func processors() (all []string) {
	var set unix.CPUSet
	_ = unix.SchedGetaffinity(0, &set) // none then
	for n := range len(set) * 64 {
		if set.IsSet(n) {
			all = append(all, strconv.Itoa(n))
		}
	}
	return all
}

// yield has the group yield. Kernels before 5.15 know no cpu.idle.
func (g *Group) yield(how int) {
	if g.yields == how {
		return
	}
	idle, on := "0", processors()
	if how >= last {
		idle = "1"
	}
	if how == aside {
		on = on[len(on)/2:]
	}
	_ = g.set(CPU, "cpu.idle", "cpu.idle", idle, idle)
	_ = g.set(places, "cpuset.cpus", "cpuset.cpus", strings.Join(on, ","), strings.Join(on, ","))
	g.yields = how
}

// count adds what the group used since the last time.
func (g *Group) count(u *user) {
	if used := g.usage(); used > g.used {
		u.used += used - g.used
		g.used = used
	}
}

// usage is how long the group has used processors, 0 where nobody counts.
func (g *Group) usage() time.Duration {
	for _, c := range []string{account, CPU} { // often one directory
		if b, err := os.ReadFile(filepath.Join(g.dirs[c], "cpuacct.usage")); err == nil && g.dirs[c] != "" {
			n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
			return time.Duration(n)
		}
	}
	return time.Duration(g.number(CPU, "cpu.stat", "", "usage_usec")) * time.Microsecond
}

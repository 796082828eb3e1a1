package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// run starts a program, which ends with the test at the latest.
func run(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(name, args...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	return c
}

// tree is one that nobody looks at but the test.
func tree(t *testing.T) *Tree {
	t.Helper()
	tr := open(fmt.Sprintf("host-%d.yield", os.Getpid()))
	close(tr.stopped)
	t.Cleanup(tr.Close)
	return tr
}

// cpuFile is the file of the group's CPU controller, or "".
func (g *Group) cpuFile(name string) string {
	dir := g.dirs[CPU]
	if dir == "" {
		dir = g.dirs[""]
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// burn waits until the group has used some more.
func burn(t *testing.T, g *Group, d time.Duration) {
	t.Helper()
	end := g.usage() + d
	for late := time.Now().Add(time.Minute); g.usage() < end; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("what the group uses is not counted")
		}
	}
}

// spin starts in a group what uses as much as it gets.
func spin(t *testing.T, g *Group) *exec.Cmd {
	t.Helper()
	c := run(t, "/bin/sh", "-c", "while :; do :; done")
	if err := g.Add(c.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return c
}

// Who uses most of what all use yields to the others, until it was calm for a
// while; so does what is started in its place. As long as others use something
// it has half of the processors.
func TestYields(t *testing.T) {
	const d = 100 * time.Millisecond
	tr := tree(t)
	busy, _ := tr.New("busy", Limits{Of: "busy"})
	other, _ := tr.New("other", Limits{Of: "other"})
	defer busy.Remove()
	defer other.Remove()
	if busy.cpuFile("cpu.idle") == "" {
		if os.Getuid() == 0 && os.Getenv("CI") == "true" {
			t.Fatalf("no group can yield: %v", tr.why)
		}
		t.Skipf("*** NO cpu.idle, LEFT OUT: %v", tr.why)
	}
	every := strings.Join(processors(), ",")
	half := strings.Join(processors()[len(processors())/2:], ",")
	yields := func(g *Group, want, on string) {
		t.Helper()
		if b, err := os.ReadFile(g.cpuFile("cpu.idle")); err != nil || strings.TrimSpace(string(b)) != want {
			t.Errorf("cpu.idle is %q, %v, want %s", b, err, want)
		}
		if dir := g.dirs[places]; dir != "" { // version 2 knows ranges, too; it is written alike
			_ = write(filepath.Join(other.dirs[places], "cpuset.cpus"), on)
			b, err := os.ReadFile(filepath.Join(dir, "cpuset.cpus"))
			want, rerr := os.ReadFile(filepath.Join(other.dirs[places], "cpuset.cpus"))
			_ = write(filepath.Join(other.dirs[places], "cpuset.cpus"), every)
			if err != nil || rerr != nil || string(b) != string(want) {
				t.Errorf("it runs on %q, want %q: %v, %v", b, want, err, rerr)
			}
		}
	}
	tr.look(d, 1)
	yields(busy, "0", every)
	spins := spin(t, busy)
	burn(t, busy, d)
	tr.look(d, 1) // much is used: from now on it is known by whom
	yields(busy, "0", every)
	burn(t, busy, d)
	tr.look(d, 1)
	yields(busy, "1", every) // nobody else wants anything
	yields(other, "0", every)

	little := spin(t, other)
	burn(t, other, d/10)
	_ = little.Process.Kill()
	_ = little.Wait()
	burn(t, busy, d)
	tr.look(d, 1)
	yields(busy, "1", half)

	_ = spins.Process.Kill()
	_ = spins.Wait()
	busy.Remove()
	next, _ := tr.New("next", Limits{Of: "busy"})
	defer next.Remove()
	yields(next, "1", half)
	const long = time.Hour // of which nobody uses most, not even before its end
	for range calm - 1 {
		tr.look(long, 1)
	}
	yields(next, "1", half)
	tr.look(long, 1)
	yields(next, "0", every)

	next.Remove()
	other.Remove()
	tr.look(long, 1)
	if len(tr.users) > 0 || len(tr.groups) > 0 {
		t.Errorf("of groups that are gone %d are still known, and %d of their names", len(tr.groups), len(tr.users))
	}
}

// Two that use the same do not yield to each other, nor who uses most of little.
func TestEqualsDoNotYield(t *testing.T) {
	const d = 100 * time.Millisecond
	tr := tree(t)
	a, _ := tr.New("a", Limits{Of: "a"})
	b, _ := tr.New("b", Limits{Of: "b"})
	defer a.Remove()
	defer b.Remove()
	tr.users["a"].used, tr.users["b"].used = d, d
	tr.judge(d, 2*d)
	if a.yields != not || b.yields != not {
		t.Errorf("of two that use the same, one yields: %d, %d", a.yields, b.yields)
	}
	tr.users["a"].used = d / 2
	tr.judge(d, 2*d)
	if a.yields != not {
		t.Error("who uses a quarter of the machine yields")
	}
	tr.users["a"].used, tr.users["b"].used = d, d/5
	tr.judge(d, 2*d)
	if a.yields != aside || b.yields != not {
		t.Errorf("who uses most yields %d, the other %d", a.yields, b.yields)
	}
}

// The manager is beside the groups of the plugins, so that these yield to it; so
// is the one that is started after it.
func TestManagerGoesFirst(t *testing.T) {
	tr := tree(t)
	for range 2 {
		c := run(t, "/bin/sleep", "1000")
		if err := tr.First(c.Process.Pid); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if tr.Lacks(CPU) != "" {
			t.Skipf("*** NO CPU CGROUP, LEFT OUT: %v", tr.why)
		}
		if !strings.Contains(string(b), "/"+tr.name+"/manager\n") {
			t.Errorf("the manager is in\n%s", b)
		}
		_ = c.Process.Kill()
		_ = c.Wait()
	}
}

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

// Who uses most of the machine yields to the others, until it was calm for a
// while; so does what is started in its place.
func TestYields(t *testing.T) {
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
	yields := func(g *Group, want string) {
		t.Helper()
		if b, err := os.ReadFile(g.cpuFile("cpu.idle")); err != nil || strings.TrimSpace(string(b)) != want {
			t.Errorf("cpu.idle is %q, %v, want %s", b, err, want)
		}
	}
	yields(busy, "0")
	spin := run(t, "/bin/sh", "-c", "while :; do :; done")
	if err := busy.Add(spin.Process.Pid); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); busy.usage() < 20*time.Millisecond; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what the group uses is not counted")
		}
	}
	tr.look(10 * time.Millisecond)
	yields(busy, "1")
	yields(other, "0")

	_ = spin.Process.Kill()
	_ = spin.Wait()
	busy.Remove()
	next, _ := tr.New("next", Limits{Of: "busy"})
	defer next.Remove()
	yields(next, "1")
	for range calm - 1 {
		tr.look(10 * time.Millisecond)
	}
	yields(next, "1")
	tr.look(10 * time.Millisecond)
	yields(next, "0")

	next.Remove()
	other.Remove()
	tr.look(10 * time.Millisecond)
	if len(tr.users) > 0 || len(tr.groups) > 0 {
		t.Errorf("of groups that are gone %d are still known, and %d of their names", len(tr.groups), len(tr.users))
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
		if !strings.Contains(string(b), "/"+tr.name+"/"+first+"\n") {
			t.Errorf("the manager is in\n%s", b)
		}
		_ = c.Process.Kill()
		_ = c.Wait()
	}
}

package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What a spawner that was killed left behind is removed by the next.
func TestLeftovers(t *testing.T) {
	gone := exec.Command("/bin/true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	old := Open(fmt.Sprintf("host-%d.old", gone.Process.Pid))
	g, _ := old.New("p", Limits{})
	if len(g.dirs) == 0 {
		t.Logf("*** NO CGROUP: %v", old.why)
		return
	}
	next := Open(fmt.Sprintf("host-%d.next", os.Getpid()))
	defer next.Close()
	for _, dir := range g.dirs {
		if _, err := os.Stat(filepath.Dir(dir)); err == nil {
			t.Errorf("%s is still there", dir)
		}
	}
}

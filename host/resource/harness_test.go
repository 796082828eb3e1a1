package resource_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pluginhost/host/host/resource"
	"github.com/pluginhost/host/host/spawner/client"
	"github.com/pluginhost/host/host/spawner/embedded"
	"github.com/pluginhost/host/host/spawner/policy"
	"github.com/pluginhost/host/host/spawner/server"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/sdktest/port"
)

// patience only ends tests that are broken.
const patience = 60 * time.Second

// serve runs a spawner for the test.
func serve(t *testing.T) *client.Client {
	t.Helper()
	caller, err := server.Caller()
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Load("", []string{"transparent tcp *:*", "transparent udp *:*"}, os.Geteuid() == 0, caller.Name)
	if err != nil {
		t.Fatal(err)
	}
	c, run, err := embedded.New(server.Options{Policy: p})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- run(context.Background()) }()
	t.Cleanup(func() {
		_ = c.Close()
		if err := <-done; err != nil {
			t.Errorf("the spawner: %v", err)
		}
	})
	return c
}

func listener(url string) resource.Want {
	return resource.Want{Attribute: "listen", Kind: schema.Listener, Value: url}
}

func file(path, access string) resource.Want {
	return resource.Want{Attribute: "file", Kind: schema.File, Value: path, Access: access}
}

// acquire gets a lease and has it serve.
func acquire(t *testing.T, table *resource.Table, owner, url string) resource.Lease {
	t.Helper()
	l, err := table.Acquire(t.Context(), owner, listener(url))
	if err == nil {
		err = table.Set(t.Context(), owner, listener(url))
	}
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return l
}

// free returns a port that is this test's alone.
func free(t *testing.T) int {
	t.Helper()
	return port.Free(t)
}

// again runs the test once more in a process of its own, and reports whether
// this is that process. change says what is different there.
func again(t *testing.T, change func(*exec.Cmd)) bool {
	t.Helper()
	const mark = "RESOURCE_TEST_INNER"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	change(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// alone runs the test in a network namespace of its own.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		needRoot(t, "a network namespace of its own")
	}
	return again(t, func(cmd *exec.Cmd) { cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET })
}

// needRoot ends a test that needs root where it is not: loudly, and as a failure
// under CI=true.
func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("only root can do this: " + why)
	}
	t.Skip("*** NOT ROOT, LEFT OUT: " + why)
}

// ip runs ip(8).
func ip(t *testing.T, args string) {
	t.Helper()
	path, err := exec.LookPath("ip")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("ip is missing: apt-get install iproute2")
		}
		t.Skip("*** MISSING: ip. apt-get install iproute2; this test is left out")
	}
	if out, err := exec.Command(path, strings.Fields(args)...).CombinedOutput(); err != nil { //nolint:gosec // what the test says
		t.Fatalf("ip %s: %v %s", args, err, out)
	}
}

// descriptors counts those of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// inode returns the inode of the one listening socket on a port, as ss shows it.
func inode(t *testing.T, network string, port int) string {
	t.Helper()
	var found []string
	for _, table := range []string{network, network + "6"} {
		b, err := os.ReadFile("/proc/net/" + table)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(b), "\n") {
			f := strings.Fields(line)
			if len(f) > 9 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) && (f[3] == "0A" || f[3] == "07") {
				found = append(found, f[9])
			}
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d sockets on port %d", len(found), port)
	}
	return found[0]
}

// short makes a directory whose path fits into the address of a unix socket.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "res")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	return real
}

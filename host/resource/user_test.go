package resource_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pluginhost/host/host/resource"
)

const nobody = 65534

// What a user may not have is found when it is asked for, and named.
func TestUnprivileged(t *testing.T) {
	if os.Getuid() == 0 {
		// The same test as a user without rights, in a namespace where the
		// low ports are root's whatever this machine says.
		dir := short(t)
		if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // another user works in it
			t.Fatal(err)
		}
		secret := filepath.Join(dir, "secret")
		if err := os.WriteFile(secret, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		binary := filepath.Join(dir, "test")
		b, err := os.ReadFile(os.Args[0])
		if err == nil {
			err = os.WriteFile(binary, b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		again(t, func(cmd *exec.Cmd) {
			cmd.Path, cmd.Dir = binary, dir
			cmd.Env = append(cmd.Env, "RESOURCE_TEST_DIR="+dir)
			cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		})
		return
	}
	dir := os.Getenv("RESOURCE_TEST_DIR")
	if dir == "" {
		needRoot(t, "become another user")
	}
	table := resource.NewTable(serve(t))
	for _, want := range []resource.Want{
		listener("tcp://0.0.0.0:80"), listener("udp://0.0.0.0:53"), listener("tcp://0.0.0.0:8080?transparent=1"),
		listener("unix:///s"), listener("unix://" + dir + "/s?owner=root"),
		file(filepath.Join(dir, "secret"), "read"), file("/new-file", "append"),
	} {
		_, err := table.Acquire(t.Context(), "p.a@1", want)
		var denied *resource.DeniedError
		if !errors.As(err, &denied) || !strings.Contains(err.Error(), want.Value) || !strings.Contains(err.Error(), "not permitted to the daemon") {
			t.Errorf("%s: %v", want.Value, err)
		}
	}
	if _, err := table.Acquire(t.Context(), "p.a@1", listener("tcp://0.0.0.0:8080?rcvbuf=512MiB")); err == nil || !strings.Contains(err.Error(), "net.core.rmem_max") {
		t.Errorf("a buffer larger than a user may have: %v", err)
	}
	if _, err := os.Lstat(dir + "/s"); !os.IsNotExist(err) {
		t.Errorf("a socket that was refused has left its path: %v", err)
	}
	// What may be had can be had, and one socket can take over from another.
	acquire(t, table, "p.a@1", "tcp://0.0.0.0:8080")
	acquire(t, table, "p.a@2", "tcp://:8080?backlog=5")
	acquire(t, table, "p.a@1", "unix://"+dir+"/s?mode=0600")
	table.Retire(t.Context(), "p.a@1", 0)
	table.Release("p.a@1")
	table.Release("p.a@2")
	if l := table.List(); len(l) != 0 {
		t.Errorf("left: %+v", l)
	}
}

func TestUsers(t *testing.T) {
	for name, want := range map[string]int{"root": 0, "0": 0, "1234": 1234} {
		if id, err := resource.UserID(name); err != nil || id != want {
			t.Errorf("user %s: %d, %v; want %d", name, id, err, want)
		}
		if id, err := resource.GroupID(name); err != nil || id != want {
			t.Errorf("group %s: %d, %v; want %d", name, id, err, want)
		}
	}
	var unknown *resource.UserError
	if _, err := resource.UserID("nosuchuser"); !errors.As(err, &unknown) || unknown.Kind != "user" {
		t.Errorf("%v", err)
	}
	if _, err := resource.GroupID("-1"); !errors.As(err, &unknown) || unknown.Kind != "group" {
		t.Errorf("%v", err)
	}
}

package server

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pluginhost/host/host/spawner"
)

// Each refusal names the rule.
func TestRefusals(t *testing.T) {
	b := newBench(t, "bind tcp 127.0.0.1:1-9999", "limit memory 104857600")
	refused := func(what string, err error, kind spawner.Kind, words ...string) {
		t.Helper()
		var e *spawner.Error
		if !errors.As(err, &e) || e.Kind != kind {
			t.Errorf("%s: %v; want it %s", what, err, kind)
			return
		}
		for _, w := range words {
			if !strings.Contains(e.Message, w) {
				t.Errorf("%s: %q does not say %q", what, e.Message, w)
			}
		}
	}
	if os.Geteuid() == 0 {
		_, _, err := b.Bind(b.ctx(), spawner.Bind{Network: "tcp4", Address: "0.0.0.0:22", Settings: spawner.Settings{UID: -1, GID: -1}})
		refused("a port that no rule names", err, spawner.Refused, "bind tcp4 0.0.0.0:22", "bind tcp *:80", "(default)", "--allow", `"bind tcp *:22"`)
		_, _, err = b.Bind(b.ctx(), spawner.Bind{Network: "tcp4", Address: "192.0.2.1:8080", Transparent: true, Settings: spawner.Settings{UID: -1, GID: -1}})
		refused("an address of another machine", err, spawner.Refused, "transparent tcp4 192.0.2.1:8080", "rules are none", `"transparent tcp 192.0.2.1:8080"`)
		_, err = b.Dir(b.ctx(), "root")
		refused("another user", err, spawner.Refused, "processes of user root", "user nobody")
		_, err = b.Open(b.ctx(), spawner.Open{Path: "/etc/shadow", Access: "read"})
		refused("a file of root", err, spawner.Denied)
		_, err = b.Open(b.ctx(), spawner.Open{Path: "/etc/cron.d/evil", Access: "append"})
		refused("a new file of root", err, spawner.Denied)
		link := filepath.Join(b.dir, "state", "link")
		if err := os.Symlink("/etc/shadow", link); err != nil {
			t.Fatal(err)
		}
		_, err = b.Open(b.ctx(), spawner.Open{Path: link, Access: "read"})
		refused("a link to a file of root", err, spawner.Denied)
	}
	_, _, err := b.Hello(b.ctx(), spawner.Hello{StateDir: "/etc", PluginDir: b.plugins})
	refused("other directories", err, spawner.Refused, "cannot change")
	_, err = b.start(spawner.Start{Memory: 200 << 20}, "exit")
	refused("more memory", err, spawner.Refused, "limit memory")
	_, err = b.start(spawner.Start{Memory: 64 << 20, Digest: strings.Repeat("0", 64)}, "exit")
	refused("another digest", err, spawner.Refused, "digest")
	_, err = b.start(spawner.Start{Memory: 64 << 20, State: "../../etc"}, "exit")
	refused("a state directory elsewhere", err, spawner.Invalid)

	good := b.exe
	b.exe = filepath.Join(b.dir, "elsewhere")
	copySelf(t, b.exe, "")
	_, err = b.start(spawner.Start{Memory: 64 << 20}, "exit")
	refused("an executable from elsewhere", err, spawner.Refused, "not in a directory")
	b.exe = filepath.Join(b.plugins, "open")
	copySelf(t, b.exe, "")
	if err := os.Chmod(b.exe, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = b.start(spawner.Start{Memory: 64 << 20}, "exit")
	refused("an executable that others can change", err, spawner.Refused, "chmod go-w")
	b.exe = good
	f, err := os.Open(b.exe)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	_, err = b.Start(b.ctx(), spawner.Start{Argv: []string{"program"}, Dir: "/etc", Memory: 64 << 20}, f)
	refused("a private directory that is none", err, spawner.Invalid)
}

// A socket that stands for other machines needs two rules: one for its address,
// and one that says so.
func TestTransparent(t *testing.T) {
	needRoot(t)
	b := newBench(t, "transparent tcp 192.0.2.0/24:1000-9000", "transparent tcp 192.0.2.1:22")
	ask := func(address string) error {
		lease, _, err := b.Bind(b.ctx(), spawner.Bind{Network: "tcp4", Address: address, Transparent: true, Settings: spawner.Settings{UID: -1, GID: -1}})
		if err == nil {
			err = b.Release(b.ctx(), lease)
		}
		return err
	}
	if err := ask("192.0.2.1:8080"); err != nil {
		t.Error(err)
	}
	for address, want := range map[string]string{"192.0.2.1:9001": `"transparent tcp 192.0.2.1:9001"`, "192.0.3.1:8080": `"transparent tcp 192.0.3.1:8080"`, "192.0.2.1:22": `"bind tcp 192.0.2.1:22"`} {
		if err := ask(address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want it to name %s", address, err, want)
		}
	}
}

// A socket stays open for the next manager, with what waits in it; one that the
// next does not want is closed when it says so.
func TestNextManager(t *testing.T) {
	b := newBench(t)
	bind := spawner.Bind{Network: "tcp4", Address: "127.0.0.1:0", Key: "one", Settings: spawner.Settings{UID: -1, GID: -1}}
	lease, address, err := b.Bind(b.ctx(), bind)
	if err == nil {
		err = b.Set(b.ctx(), lease, bind.Settings)
	}
	if err != nil {
		t.Fatal(err)
	}
	unwanted := bind
	unwanted.Key = "two"
	lease2, address2, err := b.Bind(b.ctx(), unwanted)
	if err == nil {
		err = b.Set(b.ctx(), lease2, bind.Settings)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.start(spawner.Start{}, "sleep")
	if err != nil {
		t.Fatal(err)
	}
	b.end()
	<-p.Done() // what was started ends with its manager
	waiting, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("nobody is there, but the socket is: %v", err)
	}
	defer func() { _ = waiting.Close() }()

	b.connect()
	if err := p.Give(b.ctx(), lease); err == nil {
		t.Error("a process of the former manager can be given something")
	}
	again, address3, err := b.Bind(b.ctx(), bind)
	if err != nil || again != lease || address3 != address {
		t.Fatalf("the next manager has %s at %s (%v), the first %s at %s", again, address3, err, lease, address)
	}
	if err := b.Sweep(b.ctx()); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", address2); err == nil {
		_ = c.Close()
		t.Error("a socket that the next manager does not want is still open")
	}
	if c, err := net.Dial("tcp", address); err != nil {
		t.Error(err)
	} else {
		_ = c.Close()
	}
}

// A unix socket whose path was removed between two managers is bound anew: to
// the one that is left nobody could connect.
func TestNextManagerFindsNoPath(t *testing.T) {
	b := newBench(t)
	dir := filepath.Join(b.dir, "sockets")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, int(b.user.UID), int(b.user.GID))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s.sock")
	bind := spawner.Bind{Network: "unix", Address: path, Key: "one", Settings: spawner.Settings{Mode: 0o666, UID: -1, GID: -1}}
	lease, _, err := b.Bind(b.ctx(), bind)
	if err != nil {
		t.Fatal(err)
	}
	b.end()
	// It did not listen yet, so that whoever tidies up takes it for a dead one.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	b.connect()
	again, _, err := b.Bind(b.ctx(), bind)
	if err == nil {
		err = b.Set(b.ctx(), again, bind.Settings)
	}
	if err != nil || again == lease {
		t.Fatalf("the next manager has %s, the first %s: %v", again, lease, err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/control"
)

// The manager is killed in the middle of reloads that move the listener, while
// the spawner with the sockets lives on: the next manager serves the new
// configuration whole, and what only the old one wanted is closed.
func TestManagerIsKilledInAReload(t *testing.T) {
	now := freeAddr(t)
	p := newPair(t, fmt.Sprintf(listening, now), nil)
	for n := range 4 { // at most five crashes in a minute are mended
		next := freeAddr(t)
		p.write(fmt.Sprintf(listening, next))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		reload := exec.CommandContext(ctx, filepath.Join(bin(t), "host"), "reload", "-c", p.dir)
		if err := reload.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.Duration(rand.IntN(60)) * time.Millisecond
		time.Sleep(after)
		if err := syscall.Kill(p.children()["manager"], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = reload.Wait() // it is told that the daemon has ended, or was done before
		cancel()
		p.until("another manager serves", func() bool { return strings.Count(p.out.String(), "ready: control=") == n+2 })
		if err := once(next); err != nil {
			t.Errorf("killed after %s: the new configuration: %v", after, err)
		}
		p.until("what only the old configuration wanted is closed", func() bool {
			c, err := net.DialTimeout("tcp", now, time.Second)
			if err == nil {
				_ = c.Close()
			}
			return err != nil
		})
		now = next
	}
	c, err := control.Dial("unix://" + host.SocketPath(filepath.Join(p.dir, "state")))
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Metrics(t.Context())
	if err != nil || !strings.Contains(string(text), "\nhost_manager_restarts_total 4\n") {
		t.Errorf("%v, the metrics do not say that the manager was started again four times:\n%s", err, text)
	}
}

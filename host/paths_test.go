package host_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/config"
)

// A path may have spaces, letters of any language, what separates the fields of
// a handshake line, and a length that leaves no room for a plugin's socket.
func TestUnusualPaths(t *testing.T) {
	for _, name := range []string{"with space", "grüße", "a|b", strings.Repeat("long", 14)} {
		t.Run(name, func(t *testing.T) {
			temp, err := os.MkdirTemp("", "tmp") // short: sockets are made in it
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(temp) })
			from := setup(t, two, "probe-1.0.0")
			dir := filepath.Join(from, name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, f := range []string{"plugins", "host.hcl"} {
				if err := os.Rename(filepath.Join(from, f), filepath.Join(dir, f)); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("TMPDIR", temp)
			d := run(t, dir)
			d.wants("probe.a.said", `{"text":"x"}`, "b:x")
			if err := d.stop(); err != nil {
				t.Fatal(err)
			}
			if left, _ := os.ReadDir(temp); len(left) > 0 {
				t.Errorf("the daemon left %s behind", left[0].Name())
			}
		})
	}
}

// No unix socket has a path that long: the message says what to do.
func TestTooLongForTheControlSocket(t *testing.T) {
	dir := setup(t, two, "probe-1.0.0")
	write(t, filepath.Join(dir, "host.hcl"), `host { state_dir = "`+strings.Repeat("long", 25)+`" }`)
	if _, err := try(t, dir); err == nil || !strings.Contains(err.Error(), "at most 107") || !strings.Contains(err.Error(), "state_dir") {
		t.Errorf("a control socket whose path is too long: %v", err)
	}
}

// A temporary directory with a long path is no reason to fail.
func TestLongTemporaryDirectory(t *testing.T) {
	dir := setup(t, two, "probe-1.0.0")
	temp := filepath.Join(dir, strings.Repeat("long", 20))
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", temp)
	diags, err := host.Validate(t.Context(), host.Options{Self: "/proc/self/exe", Source: config.Source{Dir: dir}})
	if err != nil || len(diags) > 0 {
		t.Errorf("%v, %v", err, diags)
	}
}

// What cannot be used is told: it may be what the configuration is about.
func TestValidateTellsOfRejectedExecutables(t *testing.T) {
	dir := setup(t, two, "probe-1.0.0")
	broken := filepath.Join(dir, "plugins", "broken")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho hello\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	diags, err := host.Validate(t.Context(), host.Options{Self: "/proc/self/exe", Source: config.Source{Dir: dir}})
	if err != nil || diags.HasErrors() || len(diags) != 1 || !strings.Contains(diags[0].Detail, "hello") {
		t.Errorf("%v, %v", err, diags)
	}
}

// Being asked to stop is no failure, however early.
func TestStopBeforeReady(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := setup(t, two, "probe-1.0.0")
	if err := host.Run(ctx, host.Options{Self: "/proc/self/exe", Source: config.Source{Dir: dir}, Log: hclog.NewNullLogger()}); err != nil {
		t.Errorf("stopped before it was ready: %v", err)
	}
}

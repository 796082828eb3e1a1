package host_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pluginhost/host/host/catalog"
)

// Whatever lies in the plugin directory is listed with the reason why it cannot
// be used, and the daemon goes on.
func TestStrangersInThePluginDirectory(t *testing.T) {
	dir := setup(t, two+`
host { describe_timeout = "2s" }
`, "probe-1.0.0")
	in := func(name string) string { return filepath.Join(dir, "plugins", name) }
	script := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(in(name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(in("empty"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(in("fifo"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(in("directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	script("garbage", `echo "hello, I am not a plugin"; sleep 1`)
	script("silent", `exec sleep 600`)
	script("gigabyte", `exec head -c 1073741824 /dev/zero`)
	script("lines", `yes "all work and no play" | head -c 1073741824; sleep 600`)
	script("assertion", `echo '{"@message":1,"@level":2,"@timestamp":3}' >&2; sleep 600`)
	// The handshake of another go-plugin program, over net/rpc.
	script("stranger", `echo "1|1|unix|/nonexistent|netrpc"; sleep 600`)
	// One that refuses because our magic cookie is not its own.
	script("cookie", `echo "This binary is a plugin. These are not meant to be executed directly." >&2; exit 1`)
	script("garbled", `printf '1|1|unix|\001\377|grpc\n'; sleep 600`)
	drop(t, dir, "probe-1.0.1")
	if err := os.Chmod(in("probe-1.0.1"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{".hidden", "editor~", "half.tmp", "half.part"} {
		script(hidden, "exit 1")
	}

	d := run(t, dir)
	for name, reason := range map[string]string{
		"empty": "empty", "fifo": "FIFO", "directory": "director", "garbage": "hello, I am not a plugin",
		"silent": "2s", "gigabyte": "", "lines": "all work", "assertion": "2s", "stranger": "net",
		"cookie": "not meant to be executed directly", "garbled": "", "probe-1.0.1": "chmod",
	} {
		e, ok := d.plugin(name)
		if !ok {
			t.Errorf("%s is not listed", name)
			continue
		}
		if e.State != catalog.Rejected || e.Reason == "" || !strings.Contains(e.Reason, reason) {
			t.Errorf("%s: %s, because %q; want a reason with %q", name, e.State, e.Reason, reason)
		}
		if strings.ContainsAny(e.Reason, "\n\x00\x01\x1b") || len(e.Reason) > 1000 {
			t.Errorf("%s: the reason is not one clean line: %q", name, e.Reason)
		}
	}
	for _, hidden := range []string{".hidden", "editor~", "half.tmp", "half.part"} {
		if _, ok := d.plugin(hidden); ok {
			t.Errorf("%s is listed", hidden)
		}
	}
	if e, _ := d.plugin("probe-1.0.0"); e.State != catalog.Ready {
		t.Errorf("the good one among them: %+v", e)
	}
	d.wants("probe.a.said", `{"text":"x"}`, "b:x")
}

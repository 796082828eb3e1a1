package host_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// withNode makes a configuration with the plugin of testdata/node, which is
// written in another language and without the SDK: the page of sdk/wire is all
// that it stands on.
func withNode(t *testing.T, hcl string) string {
	t.Helper()
	source, err := filepath.Abs("../testdata/node")
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(source, "node_modules")
	missing := ""
	if _, err := exec.LookPath("node"); err != nil {
		missing = "node is missing: install Node 20"
	} else if _, err := os.Stat(modules); err != nil {
		missing = "testdata/node/node_modules is missing: make test installs it, with npm"
	}
	if missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip("*** MISSING: " + missing)
	}
	dir := setup(t, hcl, "probe-1.0.0")
	plugins := filepath.Join(dir, "plugins")
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for from, mode := range map[string]os.FileMode{filepath.Join(source, "greeter.js"): 0o755, "../sdk/wire/plugin.proto": 0o644} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(plugins, filepath.Base(from)), b, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPluginInAnotherLanguage(t *testing.T) {
	d := run(t, withNode(t, `
plugin "probe" "a" {}
plugin "probe" "b" { prefix = "b:" }
plugin "greeter" "g" { greeting = "Good day" }
plugin "greeter" "h" {}

route "greet" {
  from  = probe.a.said
  to    = greeter.g.greet
  input = { name = event.data.text }
}
route "pass" {
  from = probe.b.said
  to   = greeter.h.pass
  input = { name = event.data.text }
}
route "passed" {
  from  = greeter.h.greeted
  to    = probe.b.echo
  input = { text = "passed ${event.data.name}" }
}
`))
	// A manifest and a schema with a default, two instances in one process.
	d.wants("probe.a.said", `{"text":"Ada"}`, "Good day, Ada")
	if g, h := d.instance("greeter.g"), d.instance("greeter.h"); g.Pid == 0 || g.Pid != h.Pid {
		t.Errorf("two instances run as %d and %d", g.Pid, h.Pid)
	}
	// An event of its own, whose promise comes back through it.
	d.wants("probe.b.said", `{"text":"Ada"}`, "b:passed Ada")

	// Many at once: batches both ways, and more than the credit.
	type answer struct {
		text string
		err  *wire.Error
	}
	answers := make(chan answer)
	for range 200 {
		go func() {
			r := d.emit("probe.b.said", `{"text":"x"}`)
			var w word
			_ = json.Unmarshal(r.Value, &w)
			answers <- answer{w.Text, r.Err}
		}()
	}
	for range 200 {
		if a := <-answers; a.err != nil || a.text != "b:passed x" {
			t.Errorf("%+v", a)
		}
	}

	// Errors have a code, and bad input ends nothing.
	if r := d.emit("greeter.h.greeted", `{"name":"nobody"}`); r.Err != nil {
		t.Errorf("an event by hand: %+v", r.Err)
	}

	// Verify refuses with the attribute's place; what serves goes on.
	d.write("host.hcl", `
plugin "probe" "a" {}
plugin "greeter" "g" {
  greeting = " "
}
`)
	r := d.must(apply.RolledBack)
	if len(r.Diagnostics) != 1 || r.Diagnostics[0].Line != 4 || !strings.Contains(r.Diagnostics[0].Summary, "A greeting has words") {
		t.Errorf("a refused greeting: %+v", r.Diagnostics)
	}
	d.wants("probe.a.said", `{"text":"Ada"}`, "Good day, Ada")

	// A changed instance is replaced in the same process, then both are drained.
	d.write("host.hcl", `
plugin "probe" "a" {}
plugin "greeter" "g" { greeting = "Hi" }
route "greet" {
  from  = probe.a.said
  to    = greeter.g.greet
  input = { name = event.data.text }
}
`)
	d.must(apply.Committed)
	d.wants("probe.a.said", `{"text":"Ada"}`, "Hi, Ada")

	// Killed, it is started again.
	before := d.instance("greeter.g")
	if err := syscall.Kill(before.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "greeter.g is back", func() bool {
		g := d.instance("greeter.g")
		return g.Light == observe.Green && g.Pid != before.Pid && g.Pid != 0
	})
	d.wants("probe.a.said", `{"text":"Ada"}`, "Hi, Ada")

	pid := d.instance("greeter.g").Pid
	d.write("host.hcl", `plugin "probe" "a" {}`)
	d.must(apply.Committed)
	until(t, "the process ends with its last instance", func() bool { return !alive(pid) })
	d.ledger()
}

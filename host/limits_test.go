package host_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/spawner/cgroup"
)

// The true reason of an end is in the promise and in the status.
func TestReasonOfAnEnd(t *testing.T) {
	tree := cgroup.Open(fmt.Sprintf("host-%d.test", os.Getpid()))
	lacks := tree.Lacks(cgroup.Memory)
	tree.Close()
	if lacks != "" {
		t.Logf("*** NO MEMORY CGROUP (%s): the limit is one of each process", lacks)
	}
	d := run(t, setup(t, `
plugin "probe" "a" {}
plugin "probe" "b" {
  process {
    memory  = "96MiB"
    restart = { max = 0 }
  }
}
plugin "probe" "c" {}
route "eat" {
  from = probe.a.said
  to   = probe.b.eat
  delivery { attempts = 1 }
}
route "echo" {
  from = probe.c.said
  to   = probe.a.echo
}
`, "probe-1.0.0"))
	if b := d.instance("probe.b"); (b.Light == observe.Green) != (lacks == "") || lacks != "" && !strings.Contains(b.Reason, "RLIMIT_DATA") {
		t.Errorf("a limit that this machine keeps or not (%s): %s, %s", lacks, b.Light, b.Reason)
	}
	want := "memory limit of 96 MiB"
	if lacks != "" {
		want = "96 MiB of memory (RLIMIT_DATA)"
	}
	r := d.emit("probe.a.said", `{"text":"x"}`)
	if r.Err == nil || !strings.Contains(r.Err.Message, want) {
		t.Errorf("the promise: %+v; want %q", r.Err, want)
	}
	until(t, "the instance is red", func() bool { return d.instance("probe.b").Light == observe.Red })
	if b := d.instance("probe.b"); !strings.Contains(b.Reason, want) {
		t.Errorf("the status: %q; want %q", b.Reason, want)
	}
	d.wants("probe.c.said", `{"text":"x"}`, "x") // the others go on
}

// What a plugin was refused is in its status: what the kernel counts of the
// process, and what the plugin says that it was denied.
func TestStatusNamesWhatIsRefused(t *testing.T) {
	d := run(t, setup(t, `
plugin "probe" "a" { process = { isolation = "instance" } }
plugin "probe" "b" {
  process {
    isolation  = "instance"
    open_files = 64
  }
}
route "try" {
  from = probe.a.said
  to   = probe.b.dare
  delivery { attempts = 1 }
}
`, "probe-1.0.0"))
	named := func(do, want string) {
		t.Helper()
		if do != "" {
			if r := d.emit("probe.a.said", `{"text":"`+do+`"}`); r.Err == nil {
				t.Errorf("%s was possible", do)
			}
		}
		end := time.Now().Add(time.Minute)
		for !strings.Contains(d.instance("probe.b").Reason, want) {
			if time.Now().After(end) {
				t.Errorf("after %q the status is %q, want %q", do, d.instance("probe.b").Reason, want)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if b := d.instance("probe.b"); b.Light != observe.Green || b.Reason != "" {
		t.Errorf("before: %s, %q", b.Light, b.Reason)
	}
	named("read /proc/1/mem", "/proc/1/mem: permission denied")
	named("dial 127.0.0.1:9", "sockets of the network without the capability network")
	if b := d.instance("probe.b"); b.Light != observe.Yellow {
		t.Errorf("who is denied something is %s", b.Light)
	}
	named("open", "too many open files")
	if kernelSays := fileSize(t, "/proc/self/fd") > 0; kernelSays { // since Linux 6.2
		named("", "it has reached its 64 open descriptors")
	} else {
		t.Log("*** THIS KERNEL DOES NOT SAY HOW MANY DESCRIPTORS ARE OPEN")
	}
	if err := syscall.Kill(d.instance("probe.b").Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	named("", "ago and was started again: ended by signal SIGKILL")
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// What is required and not to be had is an error before anything is changed.
func TestRequirements(t *testing.T) {
	d := run(t, setup(t, `plugin "probe" "a" {}`, "probe-1.0.0", "exec"))
	d.write("more.hcl", `
plugin "exec" "e" {
  command = ["/bin/true"]
  process { require = ["landlock"] }
}
`)
	r := d.must(apply.RolledBack)
	var b strings.Builder
	r.Diagnostics.WriteText(&b, false)
	if !strings.Contains(b.String(), "more.hcl:2") || !strings.Contains(b.String(), "required and not to be had here: landlock") {
		t.Errorf("the refusal:\n%s", b.String())
	}
	if os.Geteuid() != 0 {
		return
	}
	d.write("more.hcl", `
plugin "probe" "u" {
  process { user = "daemon" }
}
`)
	r = d.must(apply.RolledBack)
	b.Reset()
	r.Diagnostics.WriteText(&b, false)
	if !strings.Contains(b.String(), "more.hcl:2") || !strings.Contains(b.String(), `"user daemon"`) {
		t.Errorf("the refusal:\n%s", b.String())
	}
}

// A secret reaches a plugin over its control plane: it is not in the environment,
// the arguments or any file.
func TestSecretsLeaveNoTrace(t *testing.T) {
	const secret = "correct-horse-battery-staple"
	t.Setenv("PROBE_SECRET", secret)
	d := run(t, setup(t, `
plugin "probe" "a" {}
plugin "probe" "b" { prefix = env("PROBE_SECRET") }
route "r" {
  from = probe.a.said
  to   = probe.b.echo
}
`, "probe-1.0.0"))
	if r := d.emit("probe.a.said", `{"text":"x"}`); r.Err != nil || !strings.Contains(string(r.Value), secret) {
		t.Fatalf("the plugin does not have it: %+v", r)
	}
	pid := d.instance("probe.b").Pid
	for _, file := range []string{"environ", "cmdline"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil || len(b) == 0 || bytes.Contains(b, []byte(secret)) {
			t.Errorf("%s of the plugin (%v): %q", file, err, b)
		}
	}
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	private := ""
	for _, e := range strings.Split(string(env), "\x00") {
		if dir, ok := strings.CutPrefix(e, "TMPDIR="); ok {
			private = dir
		}
	}
	looked := 0
	for _, dir := range []string{filepath.Join(d.dir, "state"), private} {
		_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				looked++
				if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(secret)) {
					t.Errorf("%s holds the secret", path)
				}
			}
			return nil
		})
	}
	if looked == 0 || private == "" {
		t.Errorf("%d files were looked at, the private directory is %q", looked, private)
	}
	if strings.Contains(d.log.String(), secret) {
		t.Error("the log holds the secret")
	}
}

// A plugin gets a secret, and says it in its error; who asks for the life of
// the event does not see it, nor in whose subject it stands.
func TestSecretsAreNotToldOfEvents(t *testing.T) {
	const secret = "correct-horse-battery-staple"
	t.Setenv("PROBE_SECRET", secret)
	d := run(t, setup(t, `
plugin "probe" "a" {}
plugin "probe" "b" {}
plugin "probe" "dead" {}
route "r" {
  from  = probe.a.said
  to    = probe.b.blurt
  input = { text = env("PROBE_SECRET"), count = 1 }
  delivery {
    attempts    = 1
    dead_letter = probe.dead.echo
  }
}
`, "probe-1.0.0"))
	r, err := d.Emit(t.Context(), control.EmitRequest{Type: "probe.a.said", Subject: "for " + secret, Data: []byte(`{"text":"x"}`)})
	if err != nil || r.Err == nil || r.Err.Message != "no use for (secret)" {
		t.Fatalf("the plugin did not say it, or we are shown it: %+v, %v", r, err)
	}
	for _, args := range [][]string{
		{"events", "why", r.ID.String()}, {"events", "show", r.ID.String()}, {"events", "show", "-o", "json", r.ID.String()},
		{"events", "dead"}, {"events", "dead", "-o", "json"}, {"status", "-o", "json"}, {"plan"}, {"generations", "-o", "json"},
	} {
		out, _ := d.host(args...)
		if strings.Contains(out, secret) {
			t.Errorf("host %s: %s", strings.Join(args, " "), out)
		}
		if args[0] == "events" && !strings.Contains(out, "(secret)") {
			t.Errorf("host %s does not say that there is something to hide: %s", strings.Join(args, " "), out)
		}
	}
	_ = d.Tail(t.Context(), 1000, false, control.Filter{Event: r.ID}, func(e observe.Entry) error {
		if strings.Contains(e.Subject, secret) || e.Err != nil && strings.Contains(e.Err.Message, secret) {
			t.Errorf("tail: %+v", e)
		}
		return nil
	})
}

// Whatever a plugin says a secret with, the daemon's log and output do not hold
// it, nor does what is said and kept of a reload that it refuses.
func TestPluginsDoNotLogSecrets(t *testing.T) {
	const secret = "correct \"horse\" <battery>\nstaple-of-a-key-in-many-lines\t&"
	t.Setenv("PROBE_SECRET", secret)
	const hcl = `
plugin "probe" "a" {}
plugin "probe" "b" { prefix = env("PROBE_SECRET") }
route "r" {
  from  = probe.a.said
  to    = probe.b.blurt
  input = { text = env("PROBE_SECRET"), count = 1 }
}
`
	d := run(t, setup(t, hcl, "probe-1.0.0"))
	d.emit("probe.a.said", `{"text":"x"}`)
	for _, said := range []string{"logged (secret)", "on stderr", "on stdout", "on descriptor 2"} {
		until(t, "the log has "+said, func() bool { return strings.Contains(d.log.String(), said) })
	}
	until(t, "it is printed", func() bool { return strings.Contains(d.stdout.String(), "printed") })
	d.write("host.hcl", hcl+`
plugin "probe" "c" {
  prefix = env("PROBE_SECRET")
  refuse = "aloud"
}
`)
	var told strings.Builder
	r, err := d.Reload(t.Context(), apply.Request{}, func(p apply.Progress) { _, _ = fmt.Fprintln(&told, p.Message) })
	if err != nil || r.Outcome != apply.RolledBack || !strings.Contains(told.String(), "looking with (secret)") {
		t.Errorf("the reload: %+v, %v; progress:\n%s", r, err, &told)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(filepath.Join(d.dir, "state", "generations", "log.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	status, _ := d.host("status")
	for what, text := range map[string]string{"the log": d.log.String(), "the output": d.stdout.String(), "the answer": string(text),
		"what is kept": string(kept), "the progress": told.String(), "the status": status} {
		for _, part := range []string{"horse", "battery", "staple-of-a-key-in-many-lines"} {
			if strings.Contains(text, part) {
				t.Errorf("%s holds a part of the secret, %s:\n%s", what, part, text)
			}
		}
	}
}

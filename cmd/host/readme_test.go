package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/config/function"
	"github.com/pluginhost/host/sdk/schema"
)

var update = flag.Bool("update", false, "write the generated parts of README.md")

const readmePath = "../../README.md"

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fenced returns the first fenced block of a language that holds a text.
func fenced(t *testing.T, language, holding string) string {
	t.Helper()
	_, rest, found := strings.Cut(readme(t), "```"+language+"\n")
	for found {
		var block string
		block, rest, _ = strings.Cut(rest, "```\n")
		if strings.Contains(block, holding) {
			return block
		}
		_, rest, found = strings.Cut(rest, "```"+language+"\n")
	}
	t.Fatalf("README.md has no %s block with %q", language, holding)
	return ""
}

// A plugin author's first hour: what the page says is typed, built, dropped in,
// routed, reloaded, and works.
func TestReadmePlugin(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is missing")
		}
		t.Skip("*** MISSING: curl. The page's commands are not tried.")
	}
	s, url := quickstart(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(bin(t), "host"), filepath.Join(s.dir, "bin", "host")); err != nil {
		t.Fatal(err)
	}
	sh := func(script string) string {
		t.Helper()
		cmd := exec.Command("sh", "-exc", script)
		cmd.Dir, cmd.Env = s.dir, s.env()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	typed := func(script, from, to string) string {
		t.Helper()
		if !strings.Contains(script, from) {
			t.Fatalf("README.md does not have %q any more:\n%s", from, script)
		}
		return strings.Replace(script, from, to, 1)
	}
	// Here the clone is elsewhere, and so is the port.
	sh(typed(fenced(t, "sh", "go mod init"), "host=..\n", "host="+root+"\n"))
	if err := os.WriteFile(filepath.Join(s.dir, "shout", "main.go"), []byte(fenced(t, "go", "package main")), 0o644); err != nil {
		t.Fatal(err)
	}
	build := fenced(t, "sh", "go mod tidy")
	build, list, _ := strings.Cut(build, "cd ..\n")
	sh("cd shout\n" + build)
	s.until("the plugin is listed", func() bool {
		return strings.Contains(s.host(0, "plugins", "list"), "shout  1.0.0    ready")
	})
	if out := sh(list); !strings.Contains(out, "Put before each line.") || !strings.Contains(out, "Speaks up.") {
		t.Errorf("host plugins show shout:\n%s", out)
	}
	if err := os.WriteFile(filepath.Join(s.config, "shout.hcl"), []byte(fenced(t, "hcl", `plugin "shout"`)), 0o644); err != nil {
		t.Fatal(err)
	}
	before := s.pids()
	out := sh(typed(fenced(t, "sh", "o-3"), "http://127.0.0.1:8080", url))
	if !strings.Contains(out, "Generation 2 is serving") || !strings.Contains(out, `"id":"o-3"`) {
		t.Errorf("reload and curl:\n%s", out)
	}
	s.until("the line is shown", func() bool { return strings.Contains(s.out.String(), `"data":{"text":"» ORDER O-3"}`) })
	after := s.pids()
	for address, pid := range before {
		if after[address] != pid {
			t.Errorf("%s moved from process %v to %v", address, pid, after[address])
		}
	}
	if err := os.Remove(filepath.Join(s.config, "shout.hcl")); err != nil {
		t.Fatal(err)
	}
	s.host(0, "reload")
	s.until("its process ends", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%v", after["shout.loud"]))
		return os.IsNotExist(err)
	})
}

// pids returns the processes of the instances.
func (s *site) pids() map[string]int {
	s.t.Helper()
	var status struct {
		Instances []struct {
			Address string
			Pid     int
		}
	}
	if err := json.Unmarshal([]byte(s.host(0, "status", "-o", "json")), &status); err != nil {
		s.t.Fatal(err)
	}
	pids := map[string]int{}
	for _, i := range status.Instances {
		pids[i.Address] = i.Pid
	}
	return pids
}

// The example of the reference is a valid configuration.
func TestReadmeConfiguration(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "host.hcl"), []byte(fenced(t, "hcl", "dead_letter")), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin(t), "host"), "validate", "-c", dir, "--plugin-dir", filepath.Join(bin(t), "plugins"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	formatted := exec.Command(filepath.Join(bin(t), "host"), "fmt", "--check", dir)
	if out, err := formatted.CombinedOutput(); err != nil {
		t.Errorf("it is not formatted: %v\n%s", err, out)
	}
}

// The parts of README.md that say what plugins and functions there are come
// from the manifests and the code.
func TestReadmeReference(t *testing.T) {
	s, _ := quickstart(t)
	var plugins strings.Builder
	for _, name := range []string{"http", "cron", "exec", "file", "log"} {
		var e catalog.Entry
		if err := json.Unmarshal([]byte(s.host(0, "plugins", "show", name, "-o", "json")), &e); err != nil {
			t.Fatal(err)
		}
		describe(&plugins, e.Manifest)
	}
	names := slices.Sorted(maps.Keys(function.All(function.Outside{})))
	functions := "`" + strings.Join(names, "`, `") + "`.\n"

	old := readme(t)
	text := between(t, old, "functions", "\n"+functions+"\n")
	text = between(t, text, "plugins", "\n"+plugins.String()+"\n")
	if text == old {
		return
	}
	if !*update {
		t.Fatal("the reference in README.md is not what the code says: go test ./cmd/host -run Readme -update")
	}
	if err := os.WriteFile(readmePath, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// between replaces what stands between two marks.
func between(t *testing.T, text, mark, middle string) string {
	t.Helper()
	head, rest, ok := strings.Cut(text, "<!-- "+mark+":")
	line, rest, ok2 := strings.Cut(rest, "-->\n")
	_, tail, ok3 := strings.Cut(rest, "<!-- /"+mark+" -->")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("README.md has no marks for %s", mark)
	}
	return head + "<!-- " + mark + ":" + line + "-->\n" + middle + "<!-- /" + mark + " -->" + tail
}

func describe(w *strings.Builder, m *schema.Manifest) {
	fmt.Fprintf(w, "### `%s`\n\n%s\n", m.Name, m.Doc)
	if len(m.Config) > 0 {
		w.WriteString("\n| attribute | type | default | |\n| --- | --- | --- | --- |\n")
		attributes(w, "", m.Config)
	}
	if len(m.Events) > 0 {
		w.WriteString("\n| event | data | |\n| --- | --- | --- |\n")
		for _, e := range m.Events {
			fmt.Fprintf(w, "| `%s` | %s | %s |\n", e.Name, payload(e.Data), e.Doc)
		}
	}
	if len(m.Actions) > 0 {
		w.WriteString("\n| action | takes | returns | |\n| --- | --- | --- | --- |\n")
		for _, a := range m.Actions {
			fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", a.Name, payload(a.Input), payload(a.Output), a.Doc)
		}
	}
	if m.Name != "log" {
		w.WriteString("\n")
	}
}

func attributes(w *strings.Builder, in string, fields []schema.Field) {
	for _, f := range fields {
		value := ""
		switch {
		case f.Required:
			value = "required"
		case len(f.Default) > 0:
			var b bytes.Buffer
			_ = json.Compact(&b, f.Default) // it came as JSON
			value = "`" + b.String() + "`"
		}
		doc := f.Doc
		if len(f.OneOf) > 0 {
			doc += " One of `" + strings.Join(f.OneOf, "`, `") + "`."
		}
		kind := f.Type.String()
		if f.Type.Kind == schema.Object { // its fields follow
			kind = string(f.Type.Kind)
		}
		fmt.Fprintf(w, "| `%s%s` | %s | %s | %s |\n", in, f.Name, kind, value, doc)
		attributes(w, in+f.Name+".", f.Type.Fields)
	}
}

// payload lists the fields of an object; those that may be absent have a ?.
func payload(t schema.Type) string {
	if t.Kind != schema.Object || len(t.Fields) == 0 {
		return t.String()
	}
	var names []string
	for _, f := range t.Fields {
		name := "`" + f.Name + "`"
		if !f.Required {
			name += "?"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

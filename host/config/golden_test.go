package config_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/plan"
	"github.com/pluginhost/host/sdk/schema"
)

var update = flag.Bool("update", false, "write what the golden files should hold")

// TestGolden builds each configuration in testdata and compares what comes out
// with the file want of its archive: the diagnostics as host validate prints
// them, and the configuration where there is one.
//
// An archive holds the configuration directory. Besides its files there are
//
//	args       one line for each of: -var NAME=VALUE, -var-file NAME, env NAME=VALUE
//	rejected   lines NAME REASON: executables that cannot be used
//	hidden     lines that must not stand in want
//	manifests.json  plugins besides those of testdata/manifests.json
func TestGolden(t *testing.T) {
	here, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	archives, err := filepath.Glob(filepath.Join(here, "*.txtar"))
	if err != nil || len(archives) == 0 {
		t.Fatal("no archives", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := golden(t, a)
			want := part(a, "want")
			for _, line := range strings.Split(strings.TrimSpace(part(a, "hidden")), "\n") {
				if line != "" && strings.Contains(got, line) {
					t.Errorf("%q is shown", line)
				}
			}
			if got == want {
				return
			}
			if !*update {
				t.Errorf("go test -update writes it anew. Got:\n%s\nwant:\n%s", got, want)
				return
			}
			a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return f.Name == "want" })
			a.Files = append(a.Files, txtar.File{Name: "want", Data: []byte(got)})
			if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func part(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// golden builds an archive's configuration and writes down what comes out.
func golden(t *testing.T, a *txtar.Archive) string {
	t.Helper()
	plugins := load(t, "testdata/manifests.json")
	if extra := part(a, "manifests.json"); extra != "" {
		plugins.add(t, []byte(extra))
	}
	for _, line := range strings.Split(strings.TrimSpace(part(a, "rejected")), "\n") {
		name, why, _ := strings.Cut(line, " ")
		plugins.rejected[name] = why
	}
	dir := t.TempDir()
	t.Chdir(dir)
	for _, f := range a.Files {
		mode := os.FileMode(0o644)
		if strings.HasSuffix(f.Name, ".sh") {
			mode = 0o755
		}
		if err := os.WriteFile(f.Name, f.Data, mode); err != nil {
			t.Fatal(err)
		}
	}
	src := config.Source{Dir: ".", Vars: map[string]string{}}
	for _, line := range strings.Split(part(a, "args"), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "-var":
			name, value, _ := strings.Cut(rest, "=")
			src.Vars[name] = value
		case "-var-file":
			src.VarFiles = append(src.VarFiles, rest)
		case "env":
			src.Env = append(src.Env, rest)
		}
	}
	files, diags := config.Open(src)
	var c *config.Config
	if files != nil {
		c, diags = files.Build(plugins)
	}
	var out strings.Builder
	diags.WriteText(&out, false)
	if c != nil {
		if diags.HasErrors() {
			t.Error("there is a configuration in spite of errors")
		}
		dump(t, &out, c)
	} else if !diags.HasErrors() {
		t.Error("there is neither a configuration nor an error")
	}
	return strings.ReplaceAll(out.String(), dir, "/conf")
}

// dump writes a configuration for people to check.
func dump(t *testing.T, w *strings.Builder, c *config.Config) {
	t.Helper()
	h := c.Host
	fmt.Fprintf(w, "host plugins=%s state=%s drain=%s on_change=%s describe=%s log=%s\n", h.PluginDir, h.StateDir, h.DrainTimeout, h.OnChange, h.Describe, h.LogLevel)
	level := map[string]int{}
	for _, s := range plan.Make(nil, c, nil).Steps {
		level[s.Address] = s.Level
	}
	for _, in := range c.Instances {
		fmt.Fprintf(w, "\ninstance %s, level %d\n", in.Address, level[in.Address])
		fmt.Fprintf(w, "  config %s\n", in.Shown)
		if !json.Valid(in.Config) {
			t.Errorf("%s: the configuration is not JSON", in.Address)
		}
		if len(in.DependsOn) > 0 {
			fmt.Fprintf(w, "  after %s\n", strings.Join(in.DependsOn, ", "))
		}
		for _, r := range in.Resources {
			fmt.Fprintf(w, "  resource %s = %s %s %s at %s:%d:%d\n", r.Attribute, r.Kind, r.Value, r.Access, r.Range.File, r.Range.Line, r.Range.Column)
		}
		p, _ := json.Marshal(in.Process)
		fmt.Fprintf(w, "  process %s\n", p)
	}
	for _, r := range c.Routes {
		fmt.Fprintf(w, "\nroute %s: %s\n", r.Name, r.Text)
	}
}

// plugins is a catalog for tests.
type plugins struct {
	manifests map[string]*schema.Manifest
	rejected  map[string]string
}

func load(t testing.TB, file string) *plugins {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &plugins{manifests: map[string]*schema.Manifest{}, rejected: map[string]string{}}
	p.add(t, b)
	return p
}

func (p *plugins) add(t testing.TB, b []byte) {
	t.Helper()
	var list []*schema.Manifest
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if err := m.Validate(); err != nil {
			t.Fatal(m.Name, err)
		}
		p.manifests[m.Name] = m
	}
}

func (p *plugins) Manifest(name string) (*schema.Manifest, string, bool) {
	m, ok := p.manifests[name]
	return m, strings.Repeat("0", 64), ok
}

func (p *plugins) Names() []string {
	var names []string
	for n := range p.manifests {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (p *plugins) Rejected(name string) string { return p.rejected[name] }

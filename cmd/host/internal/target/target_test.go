package target

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSource(t *testing.T) {
	s, err := Target{Dir: "d", PluginDir: "p", StateDir: "s", Vars: []string{"a=1", "b=", "c=x=y"}, VarFiles: []string{"f"}}.Source()
	if err != nil || s.Dir != "d" || s.PluginDir != "p" || s.StateDir != "s" || len(s.VarFiles) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if s.Vars["a"] != "1" || s.Vars["b"] != "" || s.Vars["c"] != "x=y" || len(s.Vars) != 3 {
		t.Errorf("values %v", s.Vars)
	}
	for _, v := range []string{"a", "=1", ""} {
		if _, err := (Target{Vars: []string{v}}).Source(); err == nil || !strings.Contains(err.Error(), "write name=value") {
			t.Errorf("--var %q: %v", v, err)
		}
	}
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	put := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "a.hcl"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(x Target, state string) {
		t.Helper()
		if got, err := x.State(); err != nil || got != state {
			t.Errorf("the state directory is %q, %v; want %q", got, err, state)
		}
	}
	want(Target{Dir: dir}, filepath.Join(dir, "state"))
	put("host {\n  state_dir = \"here\"\n}\n")
	want(Target{Dir: dir}, filepath.Join(dir, "here"))
	want(Target{Dir: dir, StateDir: "/else"}, "/else")
	put("host {\n  state_dir = \"here\"\n}\nplugin \"none\" \"x\" {\n  a = \"unfinished\n}\n")
	want(Target{Dir: dir}, filepath.Join(dir, "here"))
}

func TestElsewhere(t *testing.T) {
	dir := t.TempDir()
	if got := (Target{Dir: dir}).Elsewhere(); !strings.Contains(got, dir+" holds no *.hcl file: -c names") {
		t.Errorf("%q", got)
	}
	for _, x := range []Target{{Dir: dir, Addr: "unix:///x"}, {Dir: dir, StateDir: "/x"}} {
		if got := x.Elsewhere(); got != "" {
			t.Errorf("%+v: %q", x, got)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "a.hcl"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := (Target{Dir: dir}).Elsewhere(); got != "" {
		t.Errorf("a configuration is here: %q", got)
	}
}

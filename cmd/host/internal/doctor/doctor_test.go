package doctor

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pluginhost/host/cmd/host/internal/target"
	"github.com/pluginhost/host/cmd/host/internal/terminal"
	"github.com/pluginhost/host/host/observe"
)

// light wants one check to have this light and to say this.
func light(t *testing.T, checks []Check, name string, want observe.Light, text string) {
	t.Helper()
	for _, c := range checks {
		if c.Name == name {
			if c.Light != want || !strings.Contains(c.Text, text) {
				t.Errorf("%s is %s: %s; want %s, %s", name, c.Light, c.Text, want, text)
			}
			return
		}
	}
	t.Errorf("nothing is said of %s: %v", name, checks)
}

func TestExamine(t *testing.T) {
	dir := t.TempDir()
	where := target.Target{Dir: dir}
	checks, rules := Examine(where, "", "", nil)
	light(t, checks, "configuration", observe.Yellow, dir)
	if len(rules) == 0 {
		t.Error("there is no policy")
	}
	plugins := filepath.Join(dir, "plugins")
	if err := os.Mkdir(plugins, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.hcl"), []byte("host {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	checks, _ = Examine(where, "", "", nil)
	light(t, checks, "plugins", observe.Green, plugins)
	if err := os.Chmod(plugins, 0o777); err != nil {
		t.Fatal(err)
	}
	checks, _ = Examine(where, "", "", nil)
	light(t, checks, "plugins", observe.Red, plugins)
	checks, rules = Examine(where, "", "", []string{"no rule at all"})
	light(t, checks, "policy", observe.Red, "no")
	if len(rules) > 0 {
		t.Errorf("a policy that is wrong allows %v", rules)
	}
	checks, _ = Examine(where, "no such user", "", nil)
	light(t, checks, "user", observe.Red, "no such user")
}

func TestPrint(t *testing.T) {
	var b bytes.Buffer
	Print(terminal.New(&b, false), []Check{{"cgroups", observe.Yellow, "none\x1b"}, {"user", observe.Green, "x"}}, []string{"bind\a"})
	want := "yellow  cgroups  none\ngreen   user     x\n\nThe spawner's policy (host run --help says how to change it):\n  bind \n"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

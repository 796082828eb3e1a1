package config_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/sdk/schema"
)

// twoPlugins knows a plugin whose blocks can be kept and one with a secret.
type twoPlugins struct{ digest string }

func (p twoPlugins) Manifest(name string) (*schema.Manifest, string, bool) {
	m, ok := map[string]*schema.Manifest{"web": &web, "safe": &safe}[name]
	return m, p.digest, ok
}

func (twoPlugins) Names() []string        { return []string{"safe", "web"} }
func (twoPlugins) Rejected(string) string { return "" }

var (
	str = schema.Type{Kind: schema.String}
	obj = schema.Type{Kind: schema.Any}
	web = schema.Manifest{Name: "web", Version: "1.0.0",
		Config: []schema.Field{{Name: "token", Type: schema.Type{Kind: schema.Secret}}, {Name: "listen", Type: schema.Type{Kind: schema.Listener}}, {Name: "text", Type: str},
			{Name: "size", Type: schema.Type{Kind: schema.Bytes}, Default: json.RawMessage(`"1MiB"`)}},
		Events: []schema.Event{{Name: "request", Data: obj}}, Actions: []schema.Action{{Name: "run", Input: obj, Output: obj}}}
	safe = schema.Manifest{Name: "safe", Version: "1.0.0", Config: []schema.Field{{Name: "token", Type: schema.Type{Kind: schema.Secret}}}}
)

// For random edits, what is read with a cache is what is read without.
func TestCacheChangesNothing(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	kinds := []func(i, n int) string{
		func(i, n int) string { return fmt.Sprintf("plugin \"web\" \"w%d\" {\n  text = \"%d\"\n}\n", i, n) },
		func(i, n int) string { // a brace alone in a line
			return fmt.Sprintf("plugin \"web\" \"w%d\" {\n  text = <<-X\n    a\n}\n    %d\n  X\n}\n", i, n)
		},
		func(i, n int) string {
			return fmt.Sprintf("# plugin\nplugin \"web\" \"w%d\" { text = upper(\"%d\") }\n", i, n)
		},
		func(i, n int) string { return fmt.Sprintf("plugin \"web\" \"w%d\" {\n  token = \"s%d\"\n}\n", i, n) },
		func(i, _ int) string {
			return fmt.Sprintf("plugin \"web\" \"w%d\" {\n  listen = \"tcp://127.0.0.1:%d\"\n  text = local.x\n}\n", i, 1000+i)
		},
		func(i, n int) string { return fmt.Sprintf("plugin \"safe\" \"w%d\" {\n  token = \"s%d\"\n}\n", i, n) },
		func(i, n int) string {
			return fmt.Sprintf("/* }\n}\n*/\nplugin \"web\" \"w%d\" {\n  for_each = [\"a\", \"b%d\"]\n  text = each.key\n}\n", i, n)
		},
		func(i, n int) string { return fmt.Sprintf("plugin \"web\" \"w%d\" {\n  txt = %d\n}\n", i, n) }, // wrong
		func(i, n int) string { // may refer to nothing
			return fmt.Sprintf("plugin \"web\" \"w%d\" {\n  text = web.w0.text\n  # %d\n}\n", i, n)
		},
		func(i, n int) string {
			return fmt.Sprintf("route \"r%d\" {\n  from = web.w0.request\n  when = event.data.n > %d\n  to = web.w1.run\n}\n", i, n)
		},
		func(i, n int) string { return fmt.Sprintf("plugin \"web\" \"w%d\" {\n  text = \"%d\"\n", i, n) }, // not closed
		func(i, n int) string {
			return fmt.Sprintf("plugin \"web\" \"w%d\" {\n\n\n  text = \"%d\" // \u00e4\n}\n\n", i, n)
		},
	}
	blocks := make([]string, 12)
	for i := range blocks {
		blocks[i] = kinds[0](i, 0)
	}
	cache := &config.Cache{}
	clean := 0
	for round := range 600 {
		i := r.IntN(len(blocks))
		kind := kinds[r.IntN(len(kinds))]
		if r.IntN(3) == 0 {
			kind = kinds[0]
		}
		blocks[i] = kind(i, r.IntN(3))
		if r.IntN(4) == 0 {
			for i := range blocks {
				blocks[i] = kinds[[]int{0, 1, 2, 3, 4, 5, 11}[r.IntN(7)]](i, r.IntN(3))
			}
		}
		text := "locals {\n  x = \"" + strings.Repeat("y", r.IntN(3)) + "\"\n}\n" + strings.Join(blocks, "")
		if err := os.WriteFile(filepath.Join(dir, "a.hcl"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		plugins := twoPlugins{fmt.Sprint("d", r.IntN(20)/19)}
		want, wantDiags := read(config.Source{Dir: dir}, plugins)
		got, gotDiags := read(config.Source{Dir: dir, Cache: cache}, plugins)
		if len(wantDiags) == 0 {
			clean++
		}
		// Where there are diagnostics, the caller reads again without.
		if (len(wantDiags) > 0) != (len(gotDiags) > 0) || len(wantDiags) == 0 && got != want {
			t.Fatalf("round %d:\n%s\nwith the cache: %v\n%s\nwithout: %v\n%s", round, text, gotDiags, got, wantDiags, want)
		}
	}
	if clean < 100 {
		t.Errorf("only %d of the configurations were right", clean)
	}
}

func read(s config.Source, p config.Plugins) (string, config.Diagnostics) {
	files, diags := config.Open(s)
	if files == nil {
		return "", diags
	}
	c, diags := files.Build(p)
	if c == nil {
		return "", diags
	}
	var b strings.Builder
	for _, in := range c.Instances {
		in.Manifest = nil
		fmt.Fprintf(&b, "%+v\n", in)
	}
	for _, r := range c.Routes {
		fmt.Fprintf(&b, "%s %s %v\n", r.Name, r.Text, r.Range)
	}
	return b.String(), diags
}

// Where the state is can be told from the host block alone.
func TestHostOnly(t *testing.T) {
	for _, text := range []string{
		"plugin \"web\" \"a\" {}\nhost { state_dir = \"/there\" }\nplugin \"web\" \"b\" {\n  text = nothing.at.all\n}\n",
		"plugin \"web\" \"a\" {\n}\nvariable \"d\" {\n  default = \"/there\"\n}\n  host {\n  state_dir = var.d\n}\nplugin \"web\" \"b\" {\n}\n",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.hcl"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files, diags := config.Open(config.Source{Dir: dir, HostOnly: true})
		if files == nil || files.Host().StateDir != "/there" {
			t.Errorf("%s: %v", text, diags)
		}
	}
}

func BenchmarkReadAgain(b *testing.B) {
	dir := b.TempDir()
	var all []string
	for i := range 5000 {
		all = append(all, fmt.Sprintf("plugin \"web\" \"s%d\" {\n  listen = \"tcp://127.0.0.1:%d\"\n  text   = \"x\"\n  size   = \"1MiB\"\n}\n", i, 10000+i))
	}
	for _, cache := range []*config.Cache{nil, {}} {
		b.Run(fmt.Sprintf("cache=%t", cache != nil), func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				text := slices.Clone(all)
				text[0] = fmt.Sprintf("plugin \"web\" \"s0\" {\n  text = \"%d\"\n\n\n}\n", n)
				if err := os.WriteFile(filepath.Join(dir, "a.hcl"), []byte(strings.Join(text, "")), 0o600); err != nil {
					b.Fatal(err)
				}
				files, _ := config.Open(config.Source{Dir: dir, Cache: cache})
				if _, diags := files.Build(twoPlugins{}); diags.HasErrors() {
					b.Fatal(diags)
				}
			}
		})
	}
}

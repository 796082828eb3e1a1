package config_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/sdk/wire"
)

// seeds adds the configurations of testdata.
func seeds(f *testing.F) {
	f.Helper()
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		f.Fatal("no archives", err)
	}
	for _, name := range archives {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			if strings.HasSuffix(file.Name, ".hcl") {
				f.Add(file.Data)
			}
		}
	}
}

// FuzzBuild: whatever stands in a file, it is read to the end, and there is
// either a configuration or an error.
func FuzzBuild(f *testing.F) {
	seeds(f)
	p := load(f, "testdata/manifests.json")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, src []byte) {
		if err := os.WriteFile(filepath.Join(dir, "main.hcl"), src, 0o600); err != nil {
			t.Fatal(err)
		}
		files, diags := config.Open(config.Source{Dir: dir, Env: []string{"TOKEN=fuzzed-secret-value"}})
		var c *config.Config
		if files != nil {
			c, diags = files.Build(p)
		}
		var out bytes.Buffer
		diags.WriteText(&out, true)
		if (c == nil) != diags.HasErrors() {
			t.Errorf("a configuration: %v, with %s", c != nil, out.Bytes())
		}
		if bytes.Contains(out.Bytes(), []byte("fuzzed-secret-value")) && !bytes.Contains(src, []byte("fuzzed-secret-value")) {
			t.Errorf("the secret is shown: %s", out.Bytes())
		}
		if c == nil {
			return
		}
		for _, in := range c.Instances {
			if bytes.Contains(in.Shown, []byte("fuzzed-secret-value")) {
				t.Errorf("%s shows the secret: %s", in.Address, in.Shown)
			}
		}
		ev := &wire.Event{Type: "http.orders.order", Data: []byte(`{"id":"x","total":1,"items":[{"sku":"y"}]}`)}
		for _, r := range c.Routes {
			if r.When != nil {
				_, _ = r.When.Bool(ev)
			}
			if r.Input != nil {
				_, _ = r.Input.JSON(ev)
			}
		}
	})
}

// FuzzFormat: what was formatted once stays as it is, and means the same.
func FuzzFormat(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		once, diags := config.Format(src, "main.hcl")
		if diags.HasErrors() {
			diags.WriteText(io.Discard, false)
			return
		}
		twice, diags := config.Format(once, "main.hcl")
		if diags.HasErrors() {
			t.Fatalf("formatting broke it: %q became %q: %v", src, once, diags)
		}
		if !bytes.Equal(once, twice) {
			t.Errorf("%q became %q, then %q", src, once, twice)
		}
	})
}

// FuzzEvent: whatever an event holds, an expression over it ends.
func FuzzEvent(f *testing.F) {
	var all []*config.Expr
	for _, src := range []string{
		"event.data.total > 0", "event.data", `event.data.items[*].sku`, `{ a = jsonencode(event.data), b = event.data.a.b["c"] }`,
		`[for x in event.data : [for y in event.data : "${x}${y}"]]`, `join(event.data.a, event.data.b)`, `format(event.data.f, event.data.v)`,
		`regexall(event.data.p, event.data.s)`, `yamldecode(event.data.y)`, `event.data.n * event.data.n`, `range(event.data.n)`,
	} {
		e, diags := config.CompileExpr(src)
		if diags.HasErrors() {
			f.Fatal(src, diags)
		}
		all = append(all, e)
	}
	f.Add([]byte(`{"total":1,"items":[{"sku":"x"}],"a":{"b":{"c":1}}}`))
	f.Add([]byte(`{"a":",","b":["x","y"],"f":"%[1]500s","v":"x","p":"(a|b)*","s":"abab","y":"- 1","n":1e99}`))
	f.Add([]byte(`[1,2,{"x":[true,null,-1.5e-3,"\u00e9"]}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ev := &wire.Event{Data: data}
		for _, e := range all {
			_, _ = e.Bool(ev)
			_, _ = e.JSON(ev)
		}
	})
}

package trial_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/trial"
	"github.com/pluginhost/host/sdk/schema"
)

// plugins are those of the tests: shop emits order, tool has do and note.
type plugins struct{}

func (plugins) Manifest(name string) (*schema.Manifest, string, bool) {
	anything := schema.Type{Kind: schema.Any}
	m := &schema.Manifest{Name: name, Version: "1.0.0"}
	switch name {
	case "shop":
		m.Events = []schema.Event{{Name: "order", Data: anything}, {Name: "visit", Data: anything}}
	case "tool":
		m.Actions = []schema.Action{{Name: "do", Input: anything, Output: anything}, {Name: "note", Input: anything, Output: anything}}
	default:
		return nil, "", false
	}
	return m, "digest", true
}
func (plugins) Names() []string        { return []string{"shop", "tool"} }
func (plugins) Rejected(string) string { return "" }

const base = `
plugin "shop" "main" {}
plugin "tool" "a" {}
variable "low" { default = 10 }
route "bill" {
  from  = shop.main.order
  when  = event.data.total > var.low && event.data.country != "nowhere"
  to    = tool.a.do
  input = { cents = event.data.total * 100, about = event.subject }
  delivery {
    attempts    = 4
    backoff     = "1h"
    dead_letter = tool.a.note
  }
}
route "copy" {
  from = [shop.main.order, shop.main.visit]
  to   = tool.a.do
  delivery { await = false }
}
`

// load builds a configuration.
func load(t *testing.T, tests string) (*config.Config, config.Diagnostics) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "host.hcl"), []byte(base+tests), 0o600); err != nil {
		t.Fatal(err)
	}
	files, diags := config.Open(config.Source{Dir: dir})
	if files == nil {
		t.Fatal(diags)
	}
	return files.Build(plugins{})
}

func test(given, expect string) string {
	return fmt.Sprintf("test \"it works\" {\n  given {\n    event = shop.main.order\n    %s\n  }\n  expect {\n    %s\n  }\n}\n", given, expect)
}

func TestRun(t *testing.T) {
	const order = `data = { total = 12, country = "de" }
    subject = "o-1"`
	for name, c := range map[string]struct{ given, expect, want string }{
		"routes":          {order, `routes = ["bill", "copy"]`, ""},
		"no value":        {order, `value = null`, ""},
		"value":           {order + "\nreplies = { bill = { value = { paid = true } }, copy = { value = 7 } }", `value = { paid = true }`, ""},
		"input":           {order, `inputs = { bill = { cents = 1200, about = "o-1" }, copy = { total = 12, country = "de" } }`, ""},
		"retries":         {order + "\nreplies = { bill = { error = \"unavailable\", retryable = true, times = 2, value = 1 } }", "value = 1\n attempts = { bill = 3, copy = 1 }", ""},
		"gives up":        {order + "\nreplies = { bill = { error = \"unavailable\", retryable = true } }", "error = \"unavailable\"\n attempts = { bill = 4 }", ""},
		"a word":          {order + "\nreplies = { bill = { error = \"sold_out\", message = \"none left\" } }", `error = "sold_out"`, ""},
		"wrong routes":    {`data = { total = 1, country = "nowhere" }`, `routes = ["bill", "copy"]`, `routes: ["copy"], want ["bill","copy"], at 27: route bill did not match: event.data.total > var.low is false (event.data.total is 1); event.data.country != "nowhere" is false (event.data.country is "nowhere")`},
		"wrong value":     {order, `value = 2`, "value: null, want 2, at 28: "},
		"wrong input":     {order, `inputs = { bill = { cents = 12 } }`, `the input of route bill: {"about":"o-1","cents":1200}, want {"cents":12}, at 28: `},
		"input of none":   {`data = { total = 1, country = "de" }`, `inputs = { bill = {} }`, "the input of route bill: null, want {}, at 27: route bill did not match: event.data.total > var.low is false (event.data.total is 1)"},
		"wrong attempts":  {order, `attempts = { bill = 2 }`, "the attempts of route bill: 1, want 2, at 28: "},
		"no error":        {order, `error = "unavailable"`, "error: null, want unavailable, at 28: "},
		"another error":   {order + "\nreplies = { bill = { error = \"internal\", message = \"oh\" } }", `value = 1`, "value: rejected: internal: oh (tool.a), want 1, at 29: "},
		"nobody waits":    {`event2 = 1`, `value = null`, "invalid"},
		"unknown route":   {order, `routes = ["bil"]`, "invalid"},
		"unknown reply":   {order + "\nreplies = { bill = { valeu = 1 } }", `value = null`, "invalid"},
		"unknown replied": {order + "\nreplies = { copi = { value = 1 } }", `value = null`, "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, diags := load(t, test(c.given, c.expect))
			if cfg == nil {
				if c.want != "invalid" {
					t.Fatal(diags)
				}
				if diags[0].File == "" || diags[0].Line == 0 {
					t.Errorf("the diagnostic has no place: %+v", diags[0])
				}
				return
			}
			r, err := trial.Run(t.Context(), cfg, &cfg.Tests[0])
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range r.Failures {
				got += fmt.Sprintf("%s: %s, want %s, at %d: %s", f.What, f.Got, f.Want, f.Range.Line, f.Hint)
			}
			if got != c.want || r.Passed != (c.want == "") {
				t.Errorf("passed: %t\n got %s\nwant %s", r.Passed, got, c.want)
			}
		})
	}
}

// A test takes nothing with it: the next sees a router of its own.
func TestTestsAreApart(t *testing.T) {
	cfg, diags := load(t, strings.Repeat("\n", 1)+test(`data = { total = 12, country = "de" }
    replies = { bill = { error = "internal" } }`, `error = "internal"`)+
		strings.Replace(test(`data = { total = 12, country = "de" }`, "value = null\n attempts = { bill = 1 }"), "it works", "and again", 1))
	if cfg == nil {
		t.Fatal(diags)
	}
	for n := range cfg.Tests {
		if r, err := trial.Run(t.Context(), cfg, &cfg.Tests[n]); err != nil || !r.Passed {
			t.Errorf("%s: %+v, %v", cfg.Tests[n].Name, r, err)
		}
	}
}

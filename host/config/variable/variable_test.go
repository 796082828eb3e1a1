package variable

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/diagnostic"
)

func blocks(t *testing.T, src string) []*hclsyntax.Block {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(src), "a.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return f.Body.(*hclsyntax.Body).Blocks
}

func said(diags *diagnostic.List) string {
	var b strings.Builder
	diags.Sorted().WriteText(&b, false)
	return b.String()
}

// A flag goes before a file, a file before the environment, that before a default.
func TestWhereValuesComeFrom(t *testing.T) {
	dir := t.TempDir()
	extra := filepath.Join(dir, "extra")
	for name, text := range map[string]string{"a.auto.hclvars": "b = \"auto\"\nc = \"auto\"\nd = \"auto\"\n", "extra": "c = \"extra\"\nd = \"extra\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	diags := diagnostic.NewList()
	s := Scope{Dir: dir, Files: []string{extra}, Vars: map[string]string{"d": "flag", "n": "[1, 2]"}, Diags: diags,
		Env: map[string]string{"HOST_VAR_a": "env", "HOST_VAR_b": "env", "HOST_VAR_none": "x"},
		Blocks: blocks(t, `
variable "z" { default = "default" }
variable "a" {
  default   = "default"
  sensitive = true
}
variable "b" { default = "default" }
variable "c" { default = "default" }
variable "d" { default = "default" }
variable "n" { type = list(number) }
`)}
	vars, texts, files := s.Eval()
	if said(diags) != "" {
		t.Error(said(diags))
	}
	for name, want := range map[string]string{"z": "default", "b": "auto", "c": "extra", "d": "flag"} {
		if got := vars[name]; got.AsString() != want {
			t.Errorf("%s is %#v, want %s", name, got, want)
		}
	}
	if a, marks := vars["a"].Unmark(); a.AsString() != "env" || len(marks) != 1 {
		t.Errorf("the secret is %#v", vars["a"])
	}
	if !vars["n"].RawEquals(cty.ListVal([]cty.Value{cty.NumberIntVal(1), cty.NumberIntVal(2)})) {
		t.Errorf("n is %#v", vars["n"])
	}
	if len(texts) != 3 || texts["a"] != (Given{"env", true}) || texts["d"] != (Given{"flag", false}) || texts["n"] != (Given{"[1, 2]", false}) {
		t.Errorf("as text came %v", texts)
	}
	if len(files) != 2 || files[0].Vars || !files[1].Vars || files[1].Path != extra {
		t.Errorf("read were %v", files)
	}
}

func TestWrongValues(t *testing.T) {
	for src, c := range map[string]struct{ value, want string }{
		`variable "x" {}`:                      {"", "has no default"},
		`variable "x" { type = number }`:       {"many", "Wrong type"},
		`variable "y" { default = 1 }`:         {"1", "no variable \"x\""},
		`variable "x" { type = list(string) }`: {strings.Repeat("[", 1000), "nest at most"},
		"variable \"x\" {\n validation {\n  condition = var.x == \"a\"\n  error_message = \"Only a.\"\n }\n}": {"b", "Only a."},
	} {
		s := Scope{Dir: t.TempDir(), Diags: diagnostic.NewList(), Blocks: blocks(t, src)}
		if c.value != "" {
			s.Vars = map[string]string{"x": c.value}
		}
		if s.Eval(); !strings.Contains(said(s.Diags), c.want) {
			t.Errorf("%s with %.20q does not say %q: %s", src, c.value, c.want, said(s.Diags))
		}
	}
}

func TestLocals(t *testing.T) {
	diags := diagnostic.NewList()
	context := func(known map[string]cty.Value) *hcl.EvalContext {
		return &hcl.EvalContext{Variables: map[string]cty.Value{"local": cty.ObjectVal(known)}}
	}
	got := Locals(blocks(t, "locals {\n  a = local.b\n  c = local.d\n  d = local.c\n}\nlocals {\n  b = 1\n  a = 2\n}\n"), context, diags)
	if !got["a"].RawEquals(cty.NumberIntVal(1)) || got["c"].IsKnown() {
		t.Errorf("%#v", got)
	}
	for _, want := range []string{"local.a is defined already at a.hcl:2", "in a circle"} {
		if !strings.Contains(said(diags), want) {
			t.Errorf("it does not say %q: %s", want, said(diags))
		}
	}
}

func TestFileOfJSON(t *testing.T) {
	const declared = `
variable "a" {}
variable "list" { type = list(number) }
variable "kept" { default = "default" }
`
	for text, want := range map[string]string{
		`{"a": "${env(\"HOME\")} \u00fc", "list": [1, 2]}`: "",
		"{\n  \"a\": 1,\n  \"lits\": []\n}":                "x.json:3:3\n     3 │   \"lits\": []\n       │   ^^^^^^\n  There is no variable \"lits\". Did you mean \"list\"?",
		"{\"a\": 1,\n  \"list\": [\"x\"]}":                 "x.json:2:3",
		"{\"a\":\n 1 2}":                                   "x.json:2:",
		`{"a": 1`:                                          "it ends too early",
		``:                                                 "it ends too early",
		`[1]`:                                              "it is not an object",
		`{} {}`:                                            "something follows the object",
		`{"a": 1e999999999, "list": []}`:                   "a number has over 400 digits",
		`{"a": ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `, "list": []}`: "nests over 200 deep",
		strings.Repeat(`{"a":`, 20000): "exceeded max depth",
	} {
		path := filepath.Join(t.TempDir(), "x.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		diags := diagnostic.NewList()
		s := Scope{Dir: t.TempDir(), Files: []string{path}, Diags: diags, Blocks: blocks(t, declared)}
		vars, _, _ := s.Eval()
		got := said(diags)
		if !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%.80q: %.400s", text, got)
		}
		if want == "" && (vars["a"].AsString() != "${env(\"HOME\")} ü" || vars["list"].LengthInt() != 2 || vars["kept"].AsString() != "default") {
			t.Errorf("%#v", vars)
		}
		if strings.Contains(want, "it ") && strings.Contains(got, "without a value") {
			t.Errorf("%.80q: what may be in the file is missed: %s", text, got)
		}
	}
}

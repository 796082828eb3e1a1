package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pluginhost/host/host/config"
)

// rep is short for strings.Repeat.
var rep = strings.Repeat

// lines makes a text of n lines; each %d in the format is its number.
func lines(n int, line func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(line(i) + "\n")
	}
	return b.String()
}

func locals(s string) string { return "locals {\n" + s + "\n}\n" }

func doubling(n, times int, open, with, shut string) string {
	return locals("l0 = " + open + "\"x\"" + shut + "\n" + lines(n, func(i int) string {
		return fmt.Sprintf("l%d = %s%s%s", i+1, open, strings.TrimSuffix(rep(fmt.Sprintf("%slocal.l%d%s,", with, i, ""), times), ","), shut)
	}))
}

// Nothing that a configuration can hold ends the process, hangs or takes
// gigabytes; each is told.
func TestBounds(t *testing.T) {
	// 900,000 bytes, without as many in the file, where each is looked at twice.
	long := locals("s = replace(\"" + rep("x", 1000) + "\", \"x\", \"" + rep("x", 900) + "\")\n")
	// All steps but some 87,000 of a configuration, which cost next to no time. A
	// loop that is not counted is through soon and tells nothing: what it makes is
	// small, since a result is counted too.
	spent := long + locals(lines(11, func(i int) string { return fmt.Sprintf("spent%d = [local.s, local.s, local.s]", i) }))
	for name, test := range map[string]struct {
		src  string
		want string // in a diagnostic; empty for none
	}{
		"parentheses":          {locals("x = " + rep("(", 20_000)), "nest at most"},
		"closed parentheses":   {locals("x = " + rep("(", 20_000) + "1" + rep(")", 20_000)), "nest at most"},
		"brackets":             {locals("x = " + rep("[", 20_000) + rep("]", 20_000)), "nest at most"},
		"braces":               {locals("x = " + rep("{a=", 20_000) + "1" + rep("}", 20_000)), "nest at most"},
		"blocks":               {rep("a {\n", 20_000) + rep("}\n", 20_000), "nest at most"},
		"templates":            {locals("x = " + rep(`"${`, 20_000) + "1" + rep(`}"`, 20_000)), "nest at most"},
		"open templates":       {locals("x = " + rep(`"${`, 60_000)), "nest at most"},
		"directives":           {locals("x = \"" + rep("%{ if true }", 20_000) + "\""), "nest at most"},
		"few directives":       {locals("x = \"" + rep("%{ if true }", 9_000) + "\""), "Unexpected end of template"},
		"heredocs":             {locals("x = " + rep("<<A\n${", 20_000)), "nest at most"},
		"functions":            {locals("x = " + rep("upper(", 20_000) + rep(")", 20_000)), "nest at most"},
		"minuses":              {locals("x = " + rep("-", 50_000) + "1"), "operators"},
		"minuses on lines":     {locals("x = (" + rep("-\n", 50_000) + "1)"), "operators"},
		"minuses in brackets":  {locals("x = " + rep("("+rep("-", 1900), 150) + "1" + rep(")", 150)), "operators"},
		"sum":                  {locals("x = 1" + rep("+1", 50_000)), "operators"},
		"sum on lines":         {locals("x = (1" + rep("\n+1", 50_000) + ")"), "operators"},
		"conditionals":         {locals("x = " + rep("true ? 1 : ", 20_000) + "1"), "operators"},
		"indexes":              {locals("i = 0\nx = local.i" + rep("[local.i]", 20_000)), "operators"},
		"splats":               {locals("i = 0\nx = local.i" + rep("[*]", 50_000)), "operators"},
		"attributes":           {locals("x = local.x" + rep(".a", 50_000)), "operators"},
		"parts of a text":      {locals("i = 0\nx = \"" + rep("${local.i}", 5000) + "\""), ""},
		"many lines":           {locals(lines(10_000, func(i int) string { return fmt.Sprintf("a%d = -1 + 2", i) })), ""},
		"a long number":        {locals("x = " + rep("9", 500_000)), "400 digits"},
		"a large number":       {locals("x = 1e999999999"), "exponent"},
		"a growing number":     {locals("l0 = 1e999\n" + lines(40, func(i int) string { return fmt.Sprintf("l%d = local.l%d * local.l%d", i+1, i, i) })), "digits"},
		"a number as text":     {locals("x = \"${1e999" + rep("*1e999", 1500) + "}!\""), "digits"},
		"a large file":         {locals("x = \"" + rep("x", 1<<20) + "\""), "over 1 MiB"},
		"lists of lists":       {doubling(30, 10, "[", "", "]"), "Too large"},
		"objects of objects":   {locals("l0 = {a = 1}\n" + lines(40, func(i int) string { return fmt.Sprintf("l%d = { a = local.l%d, b = local.l%d }", i+1, i, i) })), "Too large"},
		"a deep list":          {locals("l0 = []\n" + lines(250, func(i int) string { return fmt.Sprintf("l%d = [local.l%d]", i+1, i) })), "nests over"},
		"texts of texts":       {locals("l0 = \"x\"\n" + lines(40, func(i int) string { return fmt.Sprintf("l%d = \"%s\"", i+1, rep(fmt.Sprintf("${local.l%d}", i), 10)) })), "at most 1048576"},
		"joined texts":         {long + locals("x = \""+rep("${local.s}", 60)+"\""), "Too much work"},
		"flattened":            {doubling(5, 10, "[", "", "]") + locals("x = flatten(["+rep("local.l5,", 30)+"])"), "Too"},
		"encoded":              {doubling(5, 10, "[", "", "]") + locals("x = jsonencode(["+rep("local.l5,", 100)+"])"), "Too"},
		"range":                {locals("x = range(1000000000)"), "1024"},
		"join":                 {long + locals("x = join(\"\", [for i in range(1000): local.s])"), "Too large"},
		"format":               {locals("x = format(\"%1000000000s\", \"x\")"), "pads"},
		"format of much":       {long + locals("x = format(\""+rep("%[1]s", 40)+"\", local.s)"), "at most 1048576"},
		"formatlist":           {long + locals("x = formatlist(\""+rep("%[1]s", 40)+"\", [local.s])"), "at most 1048576"},
		"replace":              {long + locals("x = replace(local.s, \"\", local.s)"), "at most 1048576"},
		"regexreplace":         {long + locals("x = regexreplace(local.s, \"x\", local.s)"), "matches too often"},
		"regexreplace small":   {locals("x = regexreplace(\"" + rep("x", 2000) + "\", \"x\", \"" + rep("$0y", 3000) + "\")"), "at most 1048576"},
		"regex":                {long + locals("x = regex(\"((x{0,30}){0,30})y\", local.s)"), "too much work"},
		"regexall":             {locals("x = regexall(\"x(.*y)?|a{80}\", \"" + rep("x", 20_000) + "\")"), "matches too often"},
		"long pattern":         {long + locals("x = regex(local.s, \"x\")"), "pattern has"},
		"indent":               {locals("x = indent(1000000000, \"a\\nb\")"), "at most 1048576"},
		"setproduct":           {locals("r = range(1000)\nx = setproduct(local.r, local.r, local.r)"), "at most 10000"},
		"concat":               {locals("r = range(1000)\nx = concat(" + rep("local.r,", 11) + "[])"), "at most 10000"},
		"yaml aliases":         {locals("x = yamldecode(<<A\na0: &a0 [x,x]\n" + lines(30, func(i int) string { return fmt.Sprintf("a%d: &a%d [*a%d,*a%d]", i+1, i+1, i, i) }) + "A\n)"), "aliases"},
		"yaml brackets":        {locals("x = yamldecode(\"" + rep("[", 50_000) + "\")"), "nests brackets"},
		"json":                 {locals("x = jsondecode(\"" + rep("[", 50_000) + "\")"), "jsondecode"},
		"no loops":             {spent, ""},
		"loops":                {spent + locals("x = [for a in range(50): [for b in range(50): [for c in range(50): c][0]][0]]"), "Too much work"},
		"loops in a condition": {spent + locals("x = [for a in range(50): 1 if length([for b in range(50): 1 if length([for c in range(50): 1 if false]) > 0]) > 0]"), "Too much work"},
		"loops too deep":       {locals("x = [for a in [1]: [for b in [1]: [for c in [1]: [for d in [1]: d]]]]"), "at most 3"},
		"loops in functions":   {spent + locals("x = [for a in range(5): upper(local.s) == \"x\"]"), "Too much work"},
		"loops that compare":   {spent + locals("r = range(1000)\nx = [for a in range(8): [for b in range(8): local.r == concat(local.r, [])]]"), "Too much work"},
		"loops over splats":    {spent + locals("r = range(1000)\nx = [for a in range(10): [for b in range(10): local.r[*]][0][0]]"), "Too much work"},
		"loops tried":          {spent + locals("x = can([for a in range(50): [for b in range(50): [for c in range(50): c][0]][0]])"), "Too much work"},
		"many instances":       {"plugin \"exec\" \"a\" {\n for_each = { for p in setproduct(range(100), range(100)): \"${p[0]}-${p[1]}\" => 1 }\n command = []\n}\nplugin \"exec\" \"b\" {\n for_each = [\"x\"]\n command = []\n}\n", "at most 10000 instances"},
		"many of one":          {"plugin \"exec\" \"a\" {\n for_each = { for p in setproduct(range(100), range(100)): \"${p[0]}-${p[1]}\" => 1 }\n command = [each.key]\n}\n", ""},
		"many with references": {"plugin \"exec\" \"a\" {\n for_each = { for p in setproduct(range(50), range(100)): \"${p[0]}-${p[1]}\" => 1 }\n command = [each.key]\n}\nplugin \"exec\" \"b\" {\n for_each = exec.a\n command = [each.value.address]\n}\n", ""},
		"a long key":           {"plugin \"exec\" \"a\" {\n for_each = [\"" + rep("k", 1000) + "\"]\n command = []\n}\n", "128 bytes"},
		"many problems":        {locals(lines(20_000, func(i int) string { return fmt.Sprintf("a%d = var.x", i) })), "19500 more"},
		"a long line":          {locals("x = [" + rep("1, ", 100_000) + "var.x]"), "Unknown variable"},
		"null bytes":           {rep("\x00", 100_000), "Invalid"},
		"not text":             {rep("\xff\xfe", 100_000), ""},
		"a chain of locals":    {locals(lines(10_000, func(i int) string { return fmt.Sprintf("a%d = local.a%d", i, i+1) }) + "a10000 = 1"), ""},
		"a circle of locals":   {locals(lines(10_000, func(i int) string { return fmt.Sprintf("a%d = local.a%d", i, i+1) }) + "a10000 = local.a0"), "circle"},
		"many circles":         {locals(lines(10_000, func(i int) string { return fmt.Sprintf("a%d = local.a%d", i, i) })), "circle"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "main.hcl"), []byte(test.src), 0o600); err != nil {
				t.Fatal(err)
			}
			diags := bounded(t, func() config.Diagnostics {
				files, diags := config.Open(config.Source{Dir: dir})
				if files == nil {
					return diags
				}
				_, diags = files.Build(load(t, "testdata/manifests.json"))
				return diags
			})
			var out strings.Builder
			diags.WriteText(&out, false)
			if out.Len() > 1<<20 {
				t.Errorf("%d bytes are printed", out.Len())
			}
			if !strings.Contains(out.String(), test.want) || test.want != "" && !diags.HasErrors() {
				t.Errorf("it does not say %q: %.2000s", test.want, out.String())
			}
			if test.want == "" && name != "not text" && diags.HasErrors() {
				t.Errorf("it is not wrong: %.2000s", out.String())
			}
		})
	}
}

// bounded fails the test when f takes too long or too much memory.
func bounded(t *testing.T, f func() config.Diagnostics) config.Diagnostics {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	diags := f()
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 4096 {
		t.Errorf("%d MiB were allocated", n)
	}
	if d := time.Since(start); d > 2*time.Minute {
		t.Errorf("it took %s", d)
	} else if d > 2*time.Second {
		t.Log("took", d)
	}
	return diags
}

// What can lie in the directory besides files.
func TestBoundsOfTheDirectory(t *testing.T) {
	open := func(dir string, files ...string) string {
		_, diags := config.Open(config.Source{Dir: dir, VarFiles: files})
		var out strings.Builder
		diags.WriteText(&out, false)
		return out.String()
	}
	want := func(got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("%.500s\ndoes not say %q", got, want)
		}
	}
	want(open(t.TempDir()), "There is no configuration")
	want(open("testdata/not/there"), "no such file")
	want(open("testdata/manifests.json"), "manifests.json")

	many := t.TempDir()
	for i := range 1001 {
		if err := os.WriteFile(filepath.Join(many, fmt.Sprintf("%d.hcl", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want(open(many), "at most 1000")

	large := t.TempDir()
	for i := range 17 {
		if err := os.WriteFile(filepath.Join(large, fmt.Sprintf("%d.hcl", i)), []byte(rep(" ", 1<<20-10)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want(open(large), "over 16 MiB")

	odd := t.TempDir()
	if err := os.Mkdir(filepath.Join(odd, "directory.hcl"), 0o700); err != nil {
		t.Fatal(err)
	}
	mkfifo(t, filepath.Join(odd, "fifo.hcl"))
	if err := os.Symlink("nowhere", filepath.Join(odd, "link.hcl")); err != nil {
		t.Fatal(err)
	}
	got := open(odd, "/dev/zero", "nothing.vars")
	for _, name := range []string{"directory.hcl is not a regular file", "fifo.hcl is not a regular file", "link.hcl: no such file"} {
		want(got, name)
	}
	for _, hidden := range []string{".hidden.hcl", "editor.hcl~"} {
		if err := os.WriteFile(filepath.Join(odd, hidden), []byte("not hcl ("), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := open(odd); strings.Contains(got, "hidden") || strings.Contains(got, "editor") {
		t.Error(got)
	}
	if err := os.WriteFile(filepath.Join(odd, "a.hcl"), []byte(`locals { x = file("fifo.hcl") }`), 0o600); err != nil {
		t.Fatal(err)
	}
	files, _ := config.Open(config.Source{Dir: odd, VarFiles: []string{"/dev/zero"}})
	_, diags := files.Build(load(t, "testdata/manifests.json"))
	var out strings.Builder
	diags.WriteText(&out, false)
	want(out.String(), "/dev/zero is not a regular file")
	want(out.String(), "fifo.hcl is not a regular file")
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

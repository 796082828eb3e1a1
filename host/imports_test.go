package host_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pluginhost/host"

// layers are the packages from top to bottom: what stands in a line may import
// what stands in a later one, never the reverse, and nothing beside it.
var layers = [][]string{
	{"cmd/host", "cmd/bench-events", "cmd/bench-reload", "cmd/bench-neighbours"},
	{"host"},
	{"host/control"},
	{"host/apply"},
	{"host/generation"},
	{"host/notify"},
	{"host/plan"},
	{"host/trial", "host/instance"},
	{"host/route"},
	{"host/promise"},
	{"host/launch"},
	{"host/catalog"},
	{"host/config"},
	{"host/resource"},
	{"host/spawner"},
	{"host/observe"},
	{"plugins"},
	{"sdk/sdktest"},
	{"sdk"},
	{"sdk/wire/rpc"},
	{"sdk/wire/descriptor"},
	{"sdk/wire"},
	{"sdk/schema"},
}

// rule keeps imports of some packages out of others.
type rule struct {
	in     string // of packages that match
	not    string // but not of those that match, where it is set
	refuse string // imports that match
	allow  string // but not those that match
	why    string
	deps   bool // also what the imports import
}

var rules = []rule{
	{in: `^sdk(/|$)`, refuse: `^host(/|$)`,
		why: "a plugin must not carry the daemon with it"},
	{in: `^host(/|$)`, refuse: `^sdk(/|$)`, allow: `^sdk/(wire|schema)(/|$)`,
		why: "the daemon speaks the published contract; it must not lean on the SDK for Go"},
	{in: `.`, not: `^sdk/sdktest$`, refuse: `^testing(/|$)|^sdk/sdktest$`,
		why: "what tests need is not part of a program"},
	{in: `^sdk/sdktest$`, refuse: `^sdk/internal(/|$)`,
		why: "a test of a plugin sees what host sees of it"},
	{in: `^plugins/`, refuse: `^(host|cmd|plugins|sdk/.+)(/|$)`,
		why: "the plugins here take the same road as anybody's: package sdk and nothing else"},
	{in: `^host/spawner(/|$)`, deps: true,
		refuse: `^(host|sdk)(/|$)|^[^/]*\.[^/]*/|^net/http|^encoding/(json|gob|xml)$|^reflectlite$|^os/exec$`,
		allow:  `^host/spawner(/|$)|^golang\.org/x/sys/|^vendor/golang\.org/x/`,
		why:    "the process with the rights must be small enough to be read: the standard library and system calls; no HCL, gRPC, HTTP, broker or log"},
	{in: `.`, not: `^(sdk|sdk/wire/rpc|host/launch)$|^cmd/bench-events`, refuse: `^github\.com/hashicorp/go-plugin(/|$)`,
		why: "only the two ends of a plugin process know go-plugin"},
	{in: `.`, not: `^host/config(/|$)`, refuse: `hashicorp/hcl|zclconf/go-cty`,
		why: "HCL ends where the typed configuration begins"},
	{in: `.`, not: `^sdk/wire/(rpc|internal/pb)$`, refuse: `^sdk/wire/internal/pb$`,
		why: "generated types stay inside the contract; everybody else has its Go types"},
	{in: `.`, not: `^host/control(/|$)`, refuse: `^connectrpc\.com/`,
		why: "the control API is defined and served in one place"},
	{in: `.`, not: `^host/observe/metrics$`, refuse: `^github\.com/prometheus/`,
		why: "what is counted is the status; its form for Prometheus is one package's"},
	{in: `.`, not: `^cmd/host(/internal/usage)?$`, refuse: `^github\.com/spf13/`,
		why: "flags and words are the command's"},
	{in: `^cmd/host/internal/`, refuse: `^(net|net/http|os/exec|os/signal)$|^host$`,
		why: "what reads and prints for a command calls no daemon and starts nothing; the command does"},
	{in: `^cmd/host/internal/terminal$`, refuse: `^(host|sdk|cmd)(/|$)`,
		why: "columns and colours are the same for everything that is printed"},
	{in: `^host/(plan|promise|route|config)(/|$)`, refuse: `^(os/exec|net|net/http|syscall|golang\.org/x/sys/unix)$`,
		why: "what decides is pure: it neither starts processes nor opens sockets"},
}

// one is a package as go list gives it.
type one struct {
	ImportPath string
	Dir        string
	Name       string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

func packages(t *testing.T) []one {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Name,GoFiles,Imports,Deps", module+"/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []one
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p one
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// short is a package's path in this module, or its whole path.
func short(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

// layer returns the line of layers that a package stands in, or -1.
func layer(path string) int {
	best, at := "", -1
	for n, names := range layers {
		for _, name := range names {
			if (path == name || strings.HasPrefix(path, name+"/") && name != "host" && name != "sdk") && len(name) > len(best) {
				best, at = name, n
			}
		}
	}
	if at < 0 && strings.HasPrefix(path, "sdk/internal/") {
		return layer("sdk")
	}
	return at
}

// broken lists what a package breaks.
func broken(p one) []string {
	var wrong []string
	from := short(p.ImportPath)
	imports := make([]string, len(p.Imports))
	for i, x := range p.Imports {
		imports[i] = short(x)
	}
	at := layer(from)
	if at < 0 && !strings.Contains(from, "internal/") {
		wrong = append(wrong, fmt.Sprintf("%s stands in no layer: add it to the list, where it belongs", from))
	}
	for _, x := range imports {
		to := layer(x)
		if at < 0 || to < 0 || to > at {
			continue
		}
		same := slices.ContainsFunc(layers[at], func(name string) bool {
			return (from == name || strings.HasPrefix(from, name+"/") || name == "sdk") && (x == name || strings.HasPrefix(x, name+"/") || name == "sdk")
		})
		if to < at || !same {
			wrong = append(wrong, fmt.Sprintf("%s imports %s: imports point down the list of layers only, so that each can be read without what stands on it", from, x))
		}
	}
	for _, r := range rules {
		if !matches(r.in, from) || r.not != "" && matches(r.not, from) {
			continue
		}
		list := imports
		if r.deps {
			list = nil
			for _, x := range p.Deps {
				list = append(list, short(x))
			}
		}
		for _, x := range list {
			if matches(r.refuse, x) && (r.allow == "" || !matches(r.allow, x)) && x != from {
				wrong = append(wrong, fmt.Sprintf("%s imports %s: %s", from, x, r.why))
			}
		}
	}
	return wrong
}

func matches(pattern, s string) bool { return regexp.MustCompile(pattern).MatchString(s) }

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		for _, w := range broken(p) {
			t.Error(w)
		}
	}
}

// A rule that cannot fail is none: each is broken here once.
func TestImportRulesRefuse(t *testing.T) {
	at := func(path string, imports ...string) one {
		p := one{ImportPath: module + "/" + path}
		for _, x := range imports {
			if layer(x) >= 0 || strings.HasPrefix(x, "sdk/") || strings.HasPrefix(x, "host/") {
				x = module + "/" + x
			}
			p.Imports = append(p.Imports, x)
		}
		p.Deps = p.Imports
		return p
	}
	for _, c := range []struct {
		p    one
		want string
	}{
		{at("sdk", "host/config"), "carry the daemon"},
		{at("host/apply", "sdk"), "lean on the SDK"},
		{at("plugins/log", "sdk/wire"), "same road"},
		{at("sdk/wire", "testing"), "what tests need"},
		{at("host/apply", "sdk/sdktest"), "what tests need"},
		{at("sdk/sdktest", "sdk/internal/work"), "what host sees"},
		{at("host/spawner/server", "google.golang.org/grpc"), "small enough to be read"},
		{at("host/spawner/child", "encoding/json"), "small enough to be read"},
		{at("host/spawner", "sdk/wire"), "small enough to be read"},
		{at("host/instance", "github.com/hashicorp/go-plugin"), "know go-plugin"},
		{at("host/route", "github.com/zclconf/go-cty/cty"), "HCL ends"},
		{at("host/launch", "sdk/wire/internal/pb"), "generated types"},
		{at("cmd/host", "connectrpc.com/connect"), "in one place"},
		{at("host/config", "github.com/spf13/cobra"), "the command's"},
		{at("host/route", "github.com/prometheus/client_golang/prometheus"), "one package's"},
		{at("cmd/host/internal/report", "github.com/spf13/cobra"), "the command's"},
		{at("cmd/host/internal/report", "host"), "the command does"},
		{at("cmd/host/internal/terminal", "host/observe"), "columns and colours"},
		{at("host/plan", "os/exec"), "pure"},
		{at("host/config", "host/apply"), "point down"},
		{at("host/route", "host/instance"), "point down"},
		{at("host/util"), "stands in no layer"},
	} {
		wrong := strings.Join(broken(c.p), "\n")
		if !strings.Contains(wrong, c.want) {
			t.Errorf("%s may import %v: %q", c.p.ImportPath, c.p.Imports, wrong)
		}
	}
	if wrong := broken(at("host/apply", "host/plan", "host/config", "sdk/wire", "context")); len(wrong) > 0 {
		t.Error(wrong)
	}
}

// maxLines is how long a package may be, comments and all: longer ones are not
// read from beginning to end.
const maxLines = 1500

func TestPackagesCanBeRead(t *testing.T) {
	for _, p := range packages(t) {
		name := short(p.ImportPath)
		if slices.Contains([]string{"util", "utils", "common", "types", "helpers", "misc", "base", "shared"}, p.Name) {
			t.Errorf("package %s: the name does not say what it is for", name)
		}
		lines := 0
		for _, f := range p.GoFiles {
			b, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			if regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`).Match(b) {
				continue
			}
			lines += strings.Count(string(b), "\n")
			tree, err := parser.ParseFile(token.NewFileSet(), f, b, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range tree.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s in %s has an init: nothing happens because a package is imported", f, name)
				}
			}
		}
		if lines > maxLines {
			t.Errorf("%s has %d lines; at most %d, so that it can be read in one sitting", name, lines, maxLines)
		}
	}
}

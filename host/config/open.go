package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyfunction "github.com/zclconf/go-cty/cty/function"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/expression"
	"github.com/pluginhost/host/host/config/function"
	"github.com/pluginhost/host/host/config/syntax"
	"github.com/pluginhost/host/host/config/variable"
)

// Files is a parsed configuration whose plugins have not been looked at yet.
type Files struct {
	src       Source
	dir       string // absolute
	files     []*syntax.File
	host      Host
	variables map[string]cty.Value
	texts     []Text           // of variables; those of files stand there
	given     map[string]Given // by variable
	functions map[string]ctyfunction.Function
	diags     *diagnostic.List
}

// Open reads and parses the directory and evaluates the host block, so that
// the plugin directory is known. Files is nil when it could not be read at all;
// with errors in the rest it is returned beside them, so that Build finds more.
func Open(src Source) (*Files, Diagnostics) {
	diags := diagnostic.NewList()
	base := src.Base
	if base == "" {
		base = src.Dir
	}
	dir, err := filepath.Abs(base)
	if err != nil {
		diags.Problem("The configuration cannot be read", err.Error(), nil)
		return nil, diags.Sorted()
	}
	env := environ(src.Env)
	f := &Files{src: src, dir: dir, diags: diags,
		functions: function.All(function.Outside{Dir: dir, Env: env, OnValue: diags.Secret})}
	f.files = syntax.ReadDir(src.Dir, ".hcl", src.parsed(), diags)
	if len(f.files) == 0 {
		if !diags.Sorted().HasErrors() {
			diags.Problem("There is no configuration", fmt.Sprintf("%s holds no file whose name ends in .hcl; -c names the directory that does.", src.Dir), nil)
		}
		return nil, diags.Sorted()
	}
	f.checkBlocks()
	scope := variable.Scope{Blocks: f.blocks("variable"), Dir: src.Dir, Files: src.VarFiles, Vars: src.Vars, Env: env, Functions: f.functions, Diags: diags}
	f.variables, f.given, f.texts = scope.Eval()
	f.evalHost()
	return f, diags.Sorted()
}

// Host returns the host block.
func (f *Files) Host() Host { return f.host }

// Texts returns every file that the configuration was read from, as it was
// then, in the order in which they count. What the functions file and env read
// is not among them.
func (f *Files) Texts() []Text {
	all := make([]Text, 0, len(f.files)+len(f.texts))
	for _, x := range f.files {
		all = append(all, Text{Path: x.Name, Text: x.Text})
	}
	return append(all, f.texts...)
}

// Given returns the variables whose values came as text, by name.
func (f *Files) Given() map[string]Given { return f.given }

// Defaults returns the host block of a configuration that cannot be read: the
// defaults, and what the source says.
func Defaults(src Source) Host {
	f := &Files{src: src, host: hostDefaults}
	f.dir, _ = filepath.Abs(src.Dir)
	f.host.PluginDir = f.override(f.host.PluginDir, src.PluginDir)
	f.host.StateDir = f.override(f.host.StateDir, src.StateDir)
	return f.host
}

// Dir returns the absolute path of the configuration directory.
func (f *Files) Dir() string { return f.dir }

func environ(list []string) map[string]string {
	env := map[string]string{}
	for _, kv := range list {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	return env
}

// labels are the block types and the names of their labels.
var labels = map[string][]string{
	"host": {}, "locals": {}, "variable": {"name"}, "plugin": {"plugin", "name"}, "route": {"name"}, "test": {"name"},
}

// checkBlocks looks at what stands at the top level.
func (f *Files) checkBlocks() {
	seen := map[string]hcl.Range{}
	for _, file := range f.files {
		if file.Body == nil {
			continue
		}
		for _, a := range syntax.SortedAttrs(file.Body) {
			f.diags.Problem("An attribute outside of a block", fmt.Sprintf("%s stands at the top level, where there are only blocks: host, variable, locals, plugin, route and test.", a.Name), a.NameRange.Ptr())
		}
		for _, b := range file.Body.Blocks {
			want, ok := labels[b.Type]
			if !ok {
				f.diags.Problem("Unknown block", fmt.Sprintf("There is no block %q.%s", b.Type, diagnostic.Suggest(b.Type, slices.Sorted(maps.Keys(labels)))), b.TypeRange.Ptr())
				continue
			}
			if len(b.Labels) != len(want) {
				form := b.Type
				for _, l := range want {
					form += fmt.Sprintf(" %q", strings.ToUpper(l))
				}
				f.diags.Problem("Wrong number of labels", fmt.Sprintf("Write %s { … }.", form), b.DefRange().Ptr())
				continue
			}
			for i, l := range b.Labels {
				if b.Type != "test" && !isName(l) {
					f.diags.Problem("Not a name", fmt.Sprintf("%q is not a name: it begins with a letter and has only small letters, digits, _ and -.", l), b.LabelRanges[i].Ptr())
				}
			}
			if b.Type == "locals" {
				continue
			}
			key := b.Type + " " + strings.Join(b.Labels, ".")
			if at, twice := seen[key]; twice {
				f.diags.Problem("Defined twice", fmt.Sprintf("%s is defined already at %s:%d.", strings.TrimSpace(key), at.Filename, at.Start.Line), b.DefRange().Ptr())
				continue
			}
			seen[key] = b.DefRange()
		}
	}
}

// blocks returns the well-formed blocks of a type, the first of each name. All
// routes and plugins are checked: also those that are defined already.
func (f *Files) blocks(kind string) []*hclsyntax.Block {
	var blocks []*hclsyntax.Block
	seen := map[string]bool{}
	for _, file := range f.files {
		if file.Body == nil {
			continue
		}
		for _, b := range file.Body.Blocks {
			key := strings.Join(b.Labels, " ")
			if b.Type == kind && len(b.Labels) == len(labels[kind]) && (kind == "locals" || kind == "route" || kind == "plugin" || !seen[key]) {
				seen[key] = true
				blocks = append(blocks, b)
			}
		}
	}
	return blocks
}

// isName reports whether s can be the name of something.
func isName(s string) bool {
	for i, c := range []byte(s) {
		letter, other := c >= 'a' && c <= 'z', c >= '0' && c <= '9' || c == '_' || c == '-'
		if !letter && (!other || i == 0) {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// context is what expressions see besides instances and events.
func (f *Files) context(locals map[string]cty.Value) *hcl.EvalContext {
	return &hcl.EvalContext{Functions: f.functions, Variables: map[string]cty.Value{
		"var": cty.ObjectVal(f.variables), "local": cty.ObjectVal(locals),
	}}
}

// Defaults of the host block.
var hostDefaults = Host{
	PluginDir: "plugins", StateDir: "state", DrainTimeout: 30 * time.Second, OnChange: "reload",
	Describe: 10 * time.Second, Start: 15 * time.Second, Load: 30 * time.Second, Reserve: 10 * time.Second, Verify: 30 * time.Second, Prepare: 30 * time.Second,
	Commit: 30 * time.Second, LogLevel: "info",
}

// evalHost evaluates the host block, which sees variables only.
func (f *Files) evalHost() {
	f.host = hostDefaults
	if f.host.Node, _ = os.Hostname(); f.host.Node == "" {
		f.host.Node = "localhost"
	}
	h := &f.host
	for _, b := range f.blocks("host") {
		ctx := f.context(nil)
		delete(ctx.Variables, "local")
		r := f.reader(b.Body, "host", ctx)
		r.Text("plugin_dir", &h.PluginDir)
		r.Text("state_dir", &h.StateDir)
		r.Text("node", &h.Node)
		r.OneOf("on_change", &h.OnChange, "reload", "upgrade")
		r.OneOf("log_level", &h.LogLevel, "trace", "debug", "info", "warn", "error")
		r.Duration("drain_timeout", &h.DrainTimeout, 0, 24*time.Hour)
		r.Duration("describe_timeout", &h.Describe, time.Millisecond, time.Hour)
		r.Duration("start_timeout", &h.Start, time.Millisecond, time.Hour)
		r.Duration("load_timeout", &h.Load, time.Millisecond, time.Hour)
		r.Duration("reserve_timeout", &h.Reserve, time.Millisecond, time.Hour)
		r.Duration("commit_timeout", &h.Commit, time.Millisecond, time.Hour)
		r.Duration("verify_timeout", &h.Verify, time.Millisecond, time.Hour)
		r.Duration("prepare_timeout", &h.Prepare, time.Millisecond, time.Hour)
		r.Done()
	}
	h.PluginDir = f.override(h.PluginDir, f.src.PluginDir)
	h.StateDir = f.override(h.StateDir, f.src.StateDir)
}

// override makes a path absolute: relative to the configuration when it stands
// there, to the working directory when it comes from a flag.
func (f *Files) override(path, flag string) string {
	if flag != "" {
		if abs, err := filepath.Abs(flag); err == nil {
			return abs
		}
		return flag
	}
	return f.abs(path)
}

func (f *Files) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(f.dir, path)
}

// CompileExpr compiles an expression that sees the event and the functions, but
// no variables.
func CompileExpr(src string) (*Expr, Diagnostics) {
	f := &Files{diags: diagnostic.NewList(), functions: function.All(function.Outside{})}
	f.diags.SetSource("expression", []byte(src))
	if r, why := syntax.Excess([]byte(src), "expression"); r != nil {
		f.diags.Problem("Out of bounds", why, r)
		return nil, f.diags.Sorted()
	}
	e, diags := hclsyntax.ParseExpression([]byte(src), "expression", hcl.InitialPos)
	f.diags.HCL(diags)
	if diags.HasErrors() {
		return nil, f.diags.Sorted()
	}
	x := expression.Compile(e, &hcl.EvalContext{Functions: f.functions}, cty.DynamicPseudoType, f.diags)
	return x, f.diags.Sorted()
}

// eval evaluates an expression of the configuration; its problems are told.
func (f *Files) eval(e hclsyntax.Expression, ctx *hcl.EvalContext) (cty.Value, bool) {
	return expression.Eval(e, ctx, f.diags)
}

// reader reads a block of the host's own.
func (f *Files) reader(body *hclsyntax.Body, what string, ctx *hcl.EvalContext) *syntax.Reader {
	return syntax.NewReader(body, what, ctx, f.diags)
}

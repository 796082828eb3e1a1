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

	"github.com/pluginhost/host/host/config/function"
)

// Files is a parsed configuration whose plugins have not been looked at yet.
type Files struct {
	src       Source
	dir       string // absolute
	files     []*source
	host      Host
	variables map[string]cty.Value
	functions map[string]ctyfunction.Function
	diags     *diagnostics
}

// Open reads and parses the directory and evaluates the host block, so that
// the plugin directory is known. Files is nil when it could not be read at all;
// with errors in the rest it is returned beside them, so that Build finds more.
func Open(src Source) (*Files, Diagnostics) {
	diags := newDiagnostics()
	dir, err := filepath.Abs(src.Dir)
	if err != nil {
		diags.problem("The configuration cannot be read", err.Error(), nil)
		return nil, diags.sorted()
	}
	env := environ(src.Env)
	f := &Files{src: src, dir: dir, diags: diags,
		functions: function.All(function.Outside{Dir: dir, Env: env, OnValue: diags.secret})}
	f.files = readDir(src.Dir, ".hcl", diags)
	if len(f.files) == 0 {
		if !diags.sorted().HasErrors() {
			diags.problem("There is no configuration", fmt.Sprintf("%s holds no file whose name ends in .hcl; -c names the directory that does.", src.Dir), nil)
		}
		return nil, diags.sorted()
	}
	f.checkBlocks()
	f.variables = f.evalVariables(env)
	f.evalHost()
	return f, diags.sorted()
}

// Host returns the host block.
func (f *Files) Host() Host { return f.host }

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
	"host": {}, "locals": {}, "variable": {"name"}, "plugin": {"plugin", "name"}, "route": {"name"},
}

// checkBlocks looks at what stands at the top level.
func (f *Files) checkBlocks() {
	seen := map[string]hcl.Range{}
	for _, file := range f.files {
		if file.body == nil {
			continue
		}
		for _, a := range sortedAttrs(file.body) {
			f.diags.problem("An attribute outside of a block", fmt.Sprintf("%s stands at the top level, where there are only blocks: host, variable, locals, plugin and route.", a.Name), a.NameRange.Ptr())
		}
		for _, b := range file.body.Blocks {
			want, ok := labels[b.Type]
			if !ok {
				f.diags.problem("Unknown block", fmt.Sprintf("There is no block %q.%s", b.Type, suggest(b.Type, slices.Sorted(maps.Keys(labels)))), b.TypeRange.Ptr())
				continue
			}
			if len(b.Labels) != len(want) {
				form := b.Type
				for _, l := range want {
					form += fmt.Sprintf(" %q", strings.ToUpper(l))
				}
				f.diags.problem("Wrong number of labels", fmt.Sprintf("Write %s { … }.", form), b.DefRange().Ptr())
				continue
			}
			for i, l := range b.Labels {
				if !isName(l) {
					f.diags.problem("Not a name", fmt.Sprintf("%q is not a name: it begins with a letter and has only small letters, digits, _ and -.", l), b.LabelRanges[i].Ptr())
				}
			}
			if b.Type == "locals" {
				continue
			}
			key := b.Type + " " + strings.Join(b.Labels, ".")
			if at, twice := seen[key]; twice {
				f.diags.problem("Defined twice", fmt.Sprintf("%s is defined already at %s:%d.", strings.TrimSpace(key), at.Filename, at.Start.Line), b.DefRange().Ptr())
				continue
			}
			seen[key] = b.DefRange()
		}
	}
}

// blocks returns the well-formed blocks of a type, the first of each name.
func (f *Files) blocks(kind string) []*hclsyntax.Block {
	var blocks []*hclsyntax.Block
	seen := map[string]bool{}
	for _, file := range f.files {
		if file.body == nil {
			continue
		}
		for _, b := range file.body.Blocks {
			key := strings.Join(b.Labels, " ")
			if b.Type == kind && len(b.Labels) == len(labels[kind]) && (kind == "locals" || !seen[key]) {
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

func sortedAttrs(b *hclsyntax.Body) []*hclsyntax.Attribute {
	return slices.SortedFunc(maps.Values(b.Attributes), func(x, y *hclsyntax.Attribute) int {
		return x.NameRange.Start.Byte - y.NameRange.Start.Byte
	})
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
	Describe: 10 * time.Second, Start: 15 * time.Second, Verify: 30 * time.Second, Prepare: 30 * time.Second, LogLevel: "info",
}

// evalHost evaluates the host block, which sees variables only.
func (f *Files) evalHost() {
	f.host = hostDefaults
	if f.host.Node, _ = os.Hostname(); f.host.Node == "" {
		f.host.Node = "localhost"
	}
	h := &f.host
	for _, b := range f.blocks("host") {
		r := f.reader(b.Body, "host", f.context(nil))
		r.text("plugin_dir", &h.PluginDir)
		r.text("state_dir", &h.StateDir)
		r.text("node", &h.Node)
		r.oneOf("on_change", &h.OnChange, "reload", "upgrade")
		r.oneOf("log_level", &h.LogLevel, "trace", "debug", "info", "warn", "error")
		r.duration("drain_timeout", &h.DrainTimeout, 0, 24*time.Hour)
		r.duration("describe_timeout", &h.Describe, time.Millisecond, time.Hour)
		r.duration("start_timeout", &h.Start, time.Millisecond, time.Hour)
		r.duration("verify_timeout", &h.Verify, time.Millisecond, time.Hour)
		r.duration("prepare_timeout", &h.Prepare, time.Millisecond, time.Hour)
		r.done()
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

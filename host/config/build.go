package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/variable"
	"github.com/pluginhost/host/sdk/schema"
)

// maxInstances bounds what for_each may make of a configuration.
const maxInstances = 10_000

// builder is one Build.
type builder struct {
	*Files
	plugins Plugins
	ctx     *hcl.EvalContext                // var, local, functions
	groups  map[string]*group               // by plugin.name
	values  map[string]map[string]cty.Value // plugin → name → what others may read of it
	names   map[string]map[string]cty.Value // plugin → name of all, with values that are not known
	config  *Config
	kept    map[*hclsyntax.Block]*made // for the next Build
}

// group is what one plugin block makes: one instance, or one for each key.
type group struct {
	block     *hclsyntax.Block
	plugin    string
	name      string
	manifest  *schema.Manifest // nil when there is no such plugin
	digest    string
	instances []*Instance
	keyed     bool     // for_each
	refs      []string // addresses of the groups that its expressions refer to
	stray     bool     // they also refer to one that does not exist
	kept      *made    // what it made last, where that is still so
	again     bool     // its name is another's: it is checked, and nobody means it
}

func (g *group) address() string { return g.plugin + "." + g.name }

// Build evaluates and checks everything else. Config is nil when there are
// errors. The diagnostics include those of Open.
func (f *Files) Build(plugins Plugins) (*Config, Diagnostics) {
	b := &builder{Files: f, plugins: plugins, groups: map[string]*group{}, kept: map[*hclsyntax.Block]*made{}, values: map[string]map[string]cty.Value{}, names: map[string]map[string]cty.Value{},
		config: &Config{Dir: f.dir, Host: f.host}}
	b.ctx = f.context(variable.Locals(f.blocks("locals"), f.context, f.diags))
	b.collect()
	b.evalGroups()
	b.evalRoutes()
	b.evalTests()
	b.conflicts()
	f.diags.Close()
	diags := f.diags.Sorted()
	if diags.HasErrors() {
		return nil, diags
	}
	for _, address := range slices.Sorted(maps.Keys(b.groups)) {
		for _, in := range b.groups[address].instances {
			b.config.Instances = append(b.config.Instances, *in)
		}
	}
	slices.SortFunc(b.config.Instances, func(x, y Instance) int { return strings.Compare(x.Address, y.Address) })
	b.config.Secrets = f.diags.Secrets().Values()
	return b.config, diags
}

// collect finds the plugin blocks and their plugins.
func (b *builder) collect() {
	for _, block := range b.blocks("plugin") {
		g := &group{block: block, plugin: block.Labels[0], name: block.Labels[1]}
		if reserved := []string{"var", "local", "each", "event", "host"}; slices.Contains(reserved, g.plugin) {
			b.diags.Problem("Not a plugin", fmt.Sprintf("%q has a meaning of its own in expressions.", g.plugin), block.LabelRanges[0].Ptr())
			continue
		}
		var ok bool
		g.manifest, g.digest, ok = b.plugins.Manifest(g.plugin)
		if !ok {
			detail := fmt.Sprintf("There is no plugin %q in %s.%s", g.plugin, b.host.PluginDir, diagnostic.Suggest(g.plugin, b.plugins.Names()))
			if why := b.plugins.Rejected(g.plugin); why != "" {
				detail = fmt.Sprintf("The executable is there and cannot be used: %s", why)
			}
			if b.src.Offline {
				b.diags.Add(schema.Warning, "Not checked", fmt.Sprintf("Nothing is known here of the plugin %q, and no executable is asked: what %s configures, and routes from and to it, are not checked.", g.plugin, g.address()), block.LabelRanges[0].Ptr())
			} else {
				b.diags.Problem("Unknown plugin", detail, block.LabelRanges[0].Ptr())
			}
		}
		_, g.keyed = block.Body.Attributes["for_each"]
		name := g.address()
		for g.again = b.groups[name] != nil; b.groups[name] != nil; {
			name += " again"
		}
		b.groups[name] = g
		if b.names[g.plugin] == nil {
			b.names[g.plugin] = map[string]cty.Value{}
		}
		b.names[g.plugin][g.name] = cty.DynamicVal
	}
	for _, g := range b.groups {
		if g.kept = b.recall(g); g.kept != nil {
			continue // it refers to nothing
		}
		g.refs, g.stray = b.groupRefs(g)
	}
}

// conflicts finds two listeners that cannot both be had.
func (b *builder) conflicts() {
	holders := map[string][]Resource{} // by what they must share to collide
	for _, address := range slices.Sorted(maps.Keys(b.groups)) {
		for _, in := range b.groups[address].instances {
			for _, r := range in.Resources {
				if r.Kind != schema.Listener || b.groups[address].again {
					continue
				}
				place := r.Listen.Place()
				for _, other := range holders[place] {
					if !r.Listen.Collides(other.Listen) {
						continue
					}
					at := fmt.Sprintf("%s:%d", other.Range.File, other.Range.Line)
					if r.Listen.Key() == other.Listen.Key() {
						b.diags.Problem("Two instances want the same address", fmt.Sprintf("%s is also wanted at %s. Give one of them another address.", r.Value, at), r.Range.Place())
					} else {
						b.diags.Problem("Two instances want overlapping addresses", fmt.Sprintf("%s and %s, at %s, cannot both be had: one of them covers the other.", r.Value, other.Value, at), r.Range.Place())
					}
					break
				}
				holders[place] = append(holders[place], r)
			}
		}
	}
}

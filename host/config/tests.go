package config

import (
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pluginhost/host/host/config/scenario"
)

// evalTests reads the test blocks, which may name the events of instances and
// the routes.
func (b *builder) evalTests() {
	names := scenario.Names{Event: func(e hclsyntax.Expression) (string, string, bool) {
		var r Route
		if len(b.sources(e, &r)) == 0 || len(r.From) == 0 {
			return "", "", false
		}
		return r.From[0].Instance, r.From[0].Name, true
	}}
	for _, r := range b.config.Routes {
		names.Routes = append(names.Routes, r.Name)
	}
	for _, block := range b.blocks("test") {
		if t, ok := scenario.Read(block, b.ctx, names, b.diags); ok {
			b.config.Tests = append(b.config.Tests, t)
		}
	}
}

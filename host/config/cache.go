package config

import (
	"regexp"
	"sync"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/syntax"
	"github.com/pluginhost/host/sdk/schema"
)

// Cache lets a configuration that is read again and again be read in a time that
// follows what changed. It is used by one Open and Build at a time, see Borrow;
// what came from them stays good. The zero value is ready.
//
// Only what depends on nothing else is kept: the text of a block, its place, and
// the manifest of its plugin. A block that refers to anything, calls a function,
// names an executable or holds a secret is evaluated each time. A configuration
// that something is to be said of is to be read again without: a kept block
// knows its lines, and its bytes no longer.
type Cache struct {
	using  sync.Mutex // by one reading
	syntax syntax.Cache
	blocks map[*hclsyntax.Block]*made
}

// made is what an unchanging block made.
type made struct {
	manifest *schema.Manifest
	digest   string
	dir      string
	instance *Instance
	shown    cty.Value
}

// Borrow returns the cache, or nil while somebody else uses it. It is given back
// with back.
func (c *Cache) Borrow() (mine *Cache, back func()) {
	if !c.using.TryLock() {
		return nil, func() {}
	}
	return c, c.using.Unlock
}

// parsed is the cache for the parser, nil for none.
func (s Source) parsed() *syntax.Cache {
	switch {
	case s.HostOnly:
		return &syntax.Cache{Skip: unless}
	case s.Cache == nil:
		return nil
	}
	return &s.Cache.syntax
}

// unless finds the blocks that the host block may need.
var unless = regexp.MustCompile(`(?m)^\s*(host|variable)\b`)

// recall returns what the block of a group made last.
func (b *builder) recall(g *group) *made {
	if b.src.Cache == nil {
		return nil
	}
	m := b.src.Cache.blocks[g.block]
	if m == nil || m.manifest != g.manifest || m.digest != g.digest || m.dir != b.dir {
		return nil
	}
	return m
}

// remember keeps what the block of a group made, where that can be.
func (b *builder) remember(g *group, said int, shown cty.Value) {
	if b.src.Cache == nil || g.manifest == nil || g.keyed || len(g.instances) != 1 || b.diags.Len() != said ||
		volatile(g.manifest.Config, g.block.Body.Attributes) || !syntax.Constant(g.block.Body) {
		return
	}
	b.kept[g.block] = &made{manifest: g.manifest, digest: g.digest, dir: b.dir, instance: g.instances[0], shown: shown}
}

// volatile reports whether a value of the fields depends on more than its text.
// Of fields with attributes only those count that are set, or have a default.
func volatile(fields []schema.Field, attributes hclsyntax.Attributes) bool {
	for i := range fields {
		if attributes != nil && attributes[fields[i].Name] == nil && len(fields[i].Default) == 0 {
			continue
		}
		for t := &fields[i].Type; t != nil; t = t.Elem {
			switch t.Kind {
			case schema.Secret, schema.Executable, schema.Instance:
				return true
			case schema.Object:
				if volatile(t.Fields, nil) {
					return true
				}
			}
		}
	}
	return false
}

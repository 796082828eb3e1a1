// Package lock is the file plugins.lock.hcl beside a configuration: which
// executables may be plugins, by digest. It reads and writes the file;
// host/catalog refuses what is not in it, before it is executed.
package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// Name is the file's name in the configuration directory.
const Name = "plugins.lock.hcl"

// maxFile is the longest file that is read, in bytes.
const maxFile = 1 << 20

// ErrNone says that there is no lock file.
var ErrNone = errors.New("there is no " + Name)

// Plugin is one executable that may be used.
type Plugin struct {
	Name         string   `hcl:"name,label"`
	Version      string   `hcl:"version"`
	Digest       string   `hcl:"sha256"` // hex
	Capabilities []string `hcl:"capabilities,optional"`
}

// Lock is what a lock file says.
type Lock struct {
	Plugins []Plugin `hcl:"plugin,block"`
}

var hex64 = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{64}$`) })

// Read reads the lock file of a configuration directory. The error is ErrNone
// when there is none.
func Read(dir string) (*Lock, error) {
	path := filepath.Join(dir, Name)
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNone
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular() || st.Size() > maxFile:
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes: write it anew with host plugins lock", path, maxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parse(b, path)
}

func parse(b []byte, path string) (*Lock, error) {
	bad := func(diags hcl.Diagnostics) error {
		return fmt.Errorf("%w; write it anew with host plugins lock", diags)
	}
	// Deep nesting ends the parser, and with it the process.
	if tokens, _ := hclsyntax.LexConfig(b, path, hcl.InitialPos); depth(tokens) > 8 {
		return nil, fmt.Errorf("%s is nested too deeply to be a lock file; write it anew with host plugins lock", path)
	}
	file, diags := hclsyntax.ParseConfig(b, path, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, bad(diags)
	}
	l := &Lock{}
	if diags := gohcl.DecodeBody(file.Body, nil, l); diags.HasErrors() {
		return nil, bad(diags)
	}
	for _, p := range l.Plugins {
		if !hex64().MatchString(p.Digest) {
			return nil, fmt.Errorf("%s: sha256 of plugin %q is not 64 hexadecimal digits; write it anew with host plugins lock", path, p.Name)
		}
	}
	return l, nil
}

func depth(tokens hclsyntax.Tokens) (most int) {
	now := 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			now++
			most = max(most, now)
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd:
			now--
		}
	}
	return most
}

// Refuse says why an executable may not be used, or "".
func (l *Lock) Refuse(digest string) string {
	if slices.ContainsFunc(l.Plugins, func(p Plugin) bool { return p.Digest == digest }) {
		return ""
	}
	return "is not in " + Name + ": look at it, then host plugins lock takes it in"
}

// Write writes the lock file of a configuration directory.
func Write(dir string, plugins []Plugin) error {
	slices.SortFunc(plugins, func(a, b Plugin) int {
		return strings.Compare(a.Name+" "+a.Version+" "+a.Digest, b.Name+" "+b.Version+" "+b.Digest)
	})
	f := hclwrite.NewEmptyFile()
	f.Body().AppendUnstructuredTokens(hclwrite.Tokens{{Type: hclsyntax.TokenComment,
		Bytes: []byte("# Written by host plugins lock. While this file is here, no other executable is used.\n")}})
	for _, p := range plugins {
		f.Body().AppendNewline()
		body := f.Body().AppendNewBlock("plugin", []string{p.Name}).Body()
		body.SetAttributeValue("version", cty.StringVal(p.Version))
		body.SetAttributeValue("sha256", cty.StringVal(p.Digest))
		if len(p.Capabilities) > 0 {
			var list []cty.Value
			for _, c := range p.Capabilities {
				list = append(list, cty.StringVal(c))
			}
			body.SetAttributeValue("capabilities", cty.ListVal(list))
		}
	}
	return renameio.WriteFile(filepath.Join(dir, Name), hclwrite.Format(f.Bytes()), 0o644)
}

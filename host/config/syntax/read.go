// Package syntax reads HCL: files within bounds that are checked before the
// parser sees the bytes, and blocks whose form is the host's own.
package syntax

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/expression/scan"
)

// Bounds of what is read, checked before the parser sees it.
const (
	maxFiles    = 1000
	maxEntries  = 10_000   // in the directory, whatever they are
	MaxFile     = 1 << 20  // bytes
	maxTotal    = 16 << 20 // bytes
	MaxDepth    = 200      // of brackets and templates: the parser recurses, and Go cannot catch a stack overflow
	MaxOperator = 2000     // operators in a row: they nest without brackets
)

// File is one file.
type File struct {
	Name string // as shown
	Text []byte
	Body *hclsyntax.Body // nil when it could not be parsed
}

// ReadDir reads and parses the files with a suffix. cache may be nil.
func ReadDir(dir, suffix string, cache *Cache, diags *diagnostic.List) []*File {
	names, err := listDir(dir, suffix)
	if err != nil {
		diags.Problem("The configuration cannot be read", err.Error(), nil)
		return nil
	}
	if len(names) > maxFiles {
		diags.Problem("Too many files", fmt.Sprintf("%s holds %d files; at most %d are read.", dir, len(names), maxFiles), nil)
		return nil
	}
	var files []*File
	total := 0
	for _, name := range names {
		f := ReadFile(filepath.Join(dir, name), diags)
		if f == nil {
			continue
		}
		if total += len(f.Text); total > maxTotal {
			diags.Problem("The configuration is too large", fmt.Sprintf("%s holds over %d MiB of configuration.", dir, maxTotal>>20), nil)
			return files
		}
		f.parseWith(cache, diags)
		files = append(files, f)
	}
	return files
}

func listDir(dir, suffix string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("%w; -c names the directory that holds the *.hcl files", err)
	}
	defer func() { _ = d.Close() }()
	entries, err := d.Readdirnames(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w; -c names the directory that holds the *.hcl files", err)
	}
	if len(entries) == maxEntries {
		return nil, fmt.Errorf("%s holds %d files or more; a configuration has a directory of its own", dir, maxEntries)
	}
	var names []string
	for _, n := range entries {
		if strings.HasSuffix(n, suffix) && !strings.HasSuffix(n, ".lock"+suffix) && !strings.HasPrefix(n, ".") && !strings.HasSuffix(n, "~") {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names, nil
}

// ReadFile reads one file, or says why not.
func ReadFile(path string, diags *diagnostic.List) *File {
	var b []byte
	st, err := os.Stat(path) // opening a FIFO would wait for its writer
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err == nil {
		b, err = readAll(path)
	}
	if err == nil && len(b) > MaxFile {
		err = fmt.Errorf("%s has over %d MiB", path, MaxFile>>20)
	}
	if err != nil {
		diags.Problem("A file cannot be read", err.Error(), &hcl.Range{Filename: path})
		return nil
	}
	return &File{Name: path, Text: b}
}

func readAll(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, MaxFile+1))
}

// Parse parses a file that is not too deep.
func (f *File) Parse(diags *diagnostic.List) {
	diags.SetSource(f.Name, f.Text)
	if r, why := Excess(f.Text, f.Name); r != nil {
		diags.Problem("Out of bounds", why, r)
		return
	}
	p, ds := hclsyntax.ParseConfig(f.Text, f.Name, hcl.InitialPos)
	diags.HCL(ds)
	if p != nil {
		f.Body, _ = p.Body.(*hclsyntax.Body)
	}
	if f.Body != nil && ds.HasErrors() {
		f.Body.Blocks = unnest(f.Body.Blocks)
	}
}

// unnest puts blocks of the top level that stand within others behind those:
// after an error the parser may miss the brace that closes a block, and what
// follows is not wrong for that.
func unnest(blocks hclsyntax.Blocks) (all hclsyntax.Blocks) {
	for _, b := range blocks {
		var own, moved hclsyntax.Blocks
		for _, x := range unnest(b.Body.Blocks) {
			switch x.Type {
			case "host", "locals", "plugin", "route", "test", "variable":
				moved = append(moved, x)
			default:
				own = append(own, x)
			}
		}
		b.Body.Blocks = own
		all = append(append(all, b), moved...)
	}
	return all
}

// Excess looks for what the parser could not survive, or makes of few bytes
// many: at says where, why what. It looks at the tokens only, which does not
// recurse for brackets. A template's tokens come from a lexer that recurses for
// quotes within quotes, so those are counted in the bytes first.
func Excess(b []byte, name string) (at *hcl.Range, why string) {
	deep := fmt.Sprintf("Brackets and templates nest at most %d deep, and at most %d operators follow each other.", MaxDepth, MaxOperator)
	if templates := strings.Count(string(b), "${") + strings.Count(string(b), "%{"); templates > MaxDepth*50 {
		return &hcl.Range{Filename: name}, deep
	}
	tokens, _ := hclsyntax.LexConfig(b, name, hcl.InitialPos) // the parser tells what is wrong with them
	type bracket struct {
		kind      hclsyntax.TokenType
		operators int // before it
	}
	var open []bracket
	operators, base := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp,
			hclsyntax.TokenTemplateControl, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
			if t.Type == hclsyntax.TokenOBrack {
				operators++ // a[b][c] nests too
			}
			open = append(open, bracket{t.Type, operators})
			base = operators
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd,
			hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
			if n := len(open) - 1; n >= 0 {
				operators, base, open = open[n].operators, 0, open[:n]
				if n > 0 {
					base = open[n-1].operators
				}
			}
		case hclsyntax.TokenNewline: // within brackets a line break means nothing
			if n := len(open) - 1; n < 0 || open[n].kind == hclsyntax.TokenOBrace {
				operators = base
			}
		case hclsyntax.TokenComma:
			operators = base
		case hclsyntax.TokenPlus, hclsyntax.TokenMinus, hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPercent,
			hclsyntax.TokenBang, hclsyntax.TokenAnd, hclsyntax.TokenOr, hclsyntax.TokenQuestion, hclsyntax.TokenColon,
			hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual, hclsyntax.TokenLessThan, hclsyntax.TokenGreaterThan,
			hclsyntax.TokenLessThanEq, hclsyntax.TokenGreaterThanEq, hclsyntax.TokenDot:
			operators++
		}
		if len(open) > MaxDepth || operators > MaxOperator {
			return t.Range.Ptr(), deep
		}
		if t.Type == hclsyntax.TokenNumberLit && !scan.ReasonableNumber(t.Bytes) {
			return t.Range.Ptr(), "A number has at most 400 digits and an exponent of at most three."
		}
	}
	return nil, ""
}

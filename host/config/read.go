package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Bounds of what is read, checked before the parser sees it.
const (
	maxFiles    = 1000
	maxFile     = 1 << 20  // bytes
	maxTotal    = 16 << 20 // bytes
	maxDepth    = 200      // of brackets and templates: the parser recurses, and Go cannot catch a stack overflow
	maxForDepth = 3        // of for expressions in each other
	maxOperator = 2000     // operators in a row: they nest without brackets
)

// source is one file.
type source struct {
	name  string // as shown
	bytes []byte
	body  *hclsyntax.Body // nil when it could not be parsed
}

// readDir reads and parses the files with a suffix.
func readDir(dir, suffix string, diags *diagnostics) []*source {
	names, err := listDir(dir, suffix)
	if err != nil {
		diags.problem("The configuration cannot be read", err.Error(), nil)
		return nil
	}
	if len(names) > maxFiles {
		diags.problem("Too many files", fmt.Sprintf("%s holds %d files; at most %d are read.", dir, len(names), maxFiles), nil)
		return nil
	}
	var files []*source
	total := 0
	for _, name := range names {
		f := readFile(filepath.Join(dir, name), diags)
		if f == nil {
			continue
		}
		if total += len(f.bytes); total > maxTotal {
			diags.problem("The configuration is too large", fmt.Sprintf("%s holds over %d MiB of configuration.", dir, maxTotal>>20), nil)
			return files
		}
		f.parse(diags)
		files = append(files, f)
	}
	return files
}

func listDir(dir, suffix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%w; -c names the directory that holds the *.hcl files", err)
	}
	var names []string
	for _, e := range entries {
		if n := e.Name(); strings.HasSuffix(n, suffix) && !strings.HasPrefix(n, ".") && !strings.HasSuffix(n, "~") {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names, nil
}

// readFile reads one file, or says why not.
func readFile(path string, diags *diagnostics) *source {
	f, err := os.Open(path)
	var b []byte
	if err == nil {
		st, serr := f.Stat()
		switch {
		case serr != nil:
			err = serr
		case !st.Mode().IsRegular():
			err = fmt.Errorf("%s is not a regular file", path)
		default:
			b, err = io.ReadAll(io.LimitReader(f, maxFile+1))
		}
		_ = f.Close()
	}
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s has over %d MiB", path, maxFile>>20)
	}
	if err != nil {
		diags.problem("A file cannot be read", err.Error(), &hcl.Range{Filename: path})
		return nil
	}
	return &source{name: path, bytes: b}
}

// parse parses a file that is not too deep.
func (f *source) parse(diags *diagnostics) {
	diags.sources[f.name] = f.bytes
	if r := tooDeep(f.bytes, f.name); r != nil {
		diags.problem("Nested too deep", fmt.Sprintf("Brackets and templates nest at most %d deep, and at most %d operators follow each other.", maxDepth, maxOperator), r)
		return
	}
	p, ds := hclsyntax.ParseConfig(f.bytes, f.name, hcl.InitialPos)
	diags.hcl(ds)
	if p != nil {
		f.body, _ = p.Body.(*hclsyntax.Body)
	}
}

// tooDeep looks at the tokens only, which does not recurse for brackets. A
// template's tokens come from a lexer that recurses for quotes within quotes,
// so those are counted in the bytes first.
func tooDeep(b []byte, name string) *hcl.Range {
	if templates := strings.Count(string(b), "${") + strings.Count(string(b), "%{"); templates > maxDepth*50 {
		return &hcl.Range{Filename: name}
	}
	tokens, _ := hclsyntax.LexConfig(b, name, hcl.InitialPos) // the parser tells what is wrong with them
	depth, operators := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp,
			hclsyntax.TokenTemplateControl, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd,
			hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
			depth--
		case hclsyntax.TokenNewline, hclsyntax.TokenComma:
			operators = 0
		case hclsyntax.TokenPlus, hclsyntax.TokenMinus, hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPercent,
			hclsyntax.TokenBang, hclsyntax.TokenAnd, hclsyntax.TokenOr, hclsyntax.TokenQuestion, hclsyntax.TokenColon,
			hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual, hclsyntax.TokenLessThan, hclsyntax.TokenGreaterThan,
			hclsyntax.TokenLessThanEq, hclsyntax.TokenGreaterThanEq, hclsyntax.TokenDot:
			operators++
		}
		if depth > maxDepth || operators > maxOperator {
			return t.Range.Ptr()
		}
	}
	return nil
}

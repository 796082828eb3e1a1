package syntax

import (
	"bytes"
	"regexp"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pluginhost/host/host/config/diagnostic"
)

// Cache keeps the blocks of files as they were parsed last, so that reading a
// large configuration again costs what has changed. Blocks that come from it
// must not be changed, and are the same pointers as before. The zero value is
// ready; it may be used by one goroutine at a time.
type Cache struct {
	Skip  *regexp.Regexp               // leave out parts of files in which it finds nothing; nil for none
	files map[string]map[string]*piece // by name of the file, then by text
}

// piece is a part of a file.
type piece struct {
	line int // of its first line
	byte int // of its first byte, where that matters
	body *hclsyntax.Body
}

// parse parses a file in pieces, and reports whether it could: where anything is
// wrong, the whole tells better. A piece that parses by itself up to the end of
// a line parses the same within the whole, since the parser has nothing open
// there.
func (c *Cache) parse(f *File) bool {
	old, now := c.files[f.Name], map[string]*piece{}
	whole := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}}
	line, at := 1, 0
	for at < len(f.Text) {
		text := f.Text[at : at+end(f.Text[at:])]
		if c.Skip != nil && !c.Skip.Match(text) {
			line += bytes.Count(text, []byte{'\n'})
			at += len(text)
			continue
		}
		p := old[string(text)]
		if p == nil || p.line != line || p.byte >= 0 && p.byte != at {
			if p = parsePiece(f.Name, text, line, at); p == nil {
				return false
			}
		}
		now[string(text)] = p
		whole.Blocks = append(whole.Blocks, p.body.Blocks...)
		line += bytes.Count(text, []byte{'\n'})
		at += len(text)
	}
	if c.files == nil {
		c.files = map[string]map[string]*piece{}
	}
	c.files[f.Name] = now
	f.Body = whole
	return true
}

// end is where the first piece of a text ends: after a line that is a closing
// brace and no more, as the last one of a block usually is.
func end(text []byte) int {
	const closing = "\n}\n"
	n := bytes.Index(text, []byte(closing))
	if n < 0 {
		return len(text)
	}
	return n + len(closing)
}

// parsePiece returns nil when there is anything to be said of it.
func parsePiece(name string, text []byte, line, at int) *piece {
	if r, _ := Excess(text, name); r != nil {
		return nil
	}
	p, ds := hclsyntax.ParseConfig(text, name, hcl.Pos{Line: line, Column: 1, Byte: at})
	if p == nil || len(ds) > 0 {
		return nil
	}
	body, ok := p.Body.(*hclsyntax.Body)
	if !ok || len(body.Attributes) > 0 {
		return nil
	}
	made := &piece{line: line, byte: -1, body: body}
	for _, b := range body.Blocks {
		if b.Type != "plugin" { // of other blocks the text is looked at again
			made.byte = at
		}
	}
	return made
}

// parseWith parses with a cache, which may be nil.
func (f *File) parseWith(c *Cache, diags *diagnostic.List) {
	if c != nil && c.parse(f) {
		diags.SetSource(f.Name, f.Text)
		return
	}
	f.Parse(diags)
}

// Package diagnostic holds what is wrong with a configuration: what, where, the
// lines that it stands in, and never a secret.
package diagnostic

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"

	"github.com/pluginhost/host/host/config/secret"
	"github.com/pluginhost/host/sdk/schema"
)

// Range is a place in a file. Line and Column count from 1, Column in
// characters; a zero Line means no place.
type Range struct {
	File      string `json:"file"` // as the user named the directory, joined with the file's name
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndLine   int    `json:"end_line,omitempty"`
	EndColumn int    `json:"end_column,omitempty"`
}

// Diagnostic is something to tell the user about the configuration.
type Diagnostic struct {
	Severity schema.Severity `json:"severity"`
	Summary  string          `json:"summary"`
	Detail   string          `json:"detail"`
	Address  string          `json:"address,omitempty"` // instance or route, where known
	Range
	Snippet string `json:"snippet,omitempty"` // the source lines; never values
}

// Diagnostics is what is wrong, in the order of files and lines.
type Diagnostics []Diagnostic

// HasErrors reports whether one of them is an error.
func (d Diagnostics) HasErrors() bool {
	for _, x := range d {
		if x.Severity == schema.Error {
			return true
		}
	}
	return false
}

// maxDiagnostics bounds what is told of one configuration.
const maxDiagnostics = 500

// List collects what is wrong, and keeps secrets out of it.
type List struct {
	Address string // of what is looked at now
	Work    int    // that expressions took so far, see package expression

	list    Diagnostics
	sources map[string][]byte // by file name
	secrets secret.Set
	more    int // that are not in list
	closed  atomic.Bool
}

// NewList returns an empty list.
func NewList() *List { return &List{sources: map[string][]byte{}} }

// SetSource gives the text of a file, for snippets.
func (d *List) SetSource(name string, text []byte) { d.sources[name] = text }

// Source returns the text of a file.
func (d *List) Source(name string) []byte { return d.sources[name] }

// Len returns how many there are so far.
func (d *List) Len() int { return len(d.list) }

// Secrets is what no message may hold.
func (d *List) Secrets() *secret.Set { return &d.secrets }

// Problem adds an error at a place, which may be nil.
func (d *List) Problem(summary, detail string, at *hcl.Range) {
	d.Add(schema.Error, summary, detail, at)
}

// Add adds a diagnostic at a place, which may be nil.
func (d *List) Add(severity schema.Severity, summary, detail string, at *hcl.Range) {
	if len(d.list) >= maxDiagnostics {
		d.more++
		return
	}
	x := Diagnostic{Severity: severity, Summary: d.secrets.Hide(summary), Detail: d.secrets.Hide(detail), Address: d.Address}
	if at != nil {
		x.Range = ToRange(*at)
		x.Snippet = snippet(d.sources[at.Filename], x.Range)
	}
	// What for_each repeats is told for the first of its instances.
	if slices.ContainsFunc(d.list, func(y Diagnostic) bool { y.Address = x.Address; return x == y }) {
		return
	}
	d.list = append(d.list, x)
}

// HCL adds what HCL has to say.
func (d *List) HCL(ds hcl.Diagnostics) {
	for _, x := range ds {
		severity := schema.Error
		if x.Severity == hcl.DiagWarning {
			severity = schema.Warning
		}
		d.Add(severity, x.Summary, x.Detail, x.Subject)
	}
}

// Secret remembers a value that no message may hold. After Close it does
// nothing: functions go on calling it when routes are evaluated.
func (d *List) Secret(s string) {
	if !d.closed.Load() {
		d.secrets.Add(s)
	}
}

// Close says that nothing is added any more.
func (d *List) Close() { d.closed.Store(true) }

// Sorted returns what was collected, by place; what has none comes first.
func (d *List) Sorted() Diagnostics {
	list := slices.Clone(d.list)
	if d.more > 0 {
		list = append(list, Diagnostic{Severity: schema.Error, Summary: "There is more", Detail: fmt.Sprintf("%d more problems are not shown.", d.more)})
	}
	for i := range list { // of secrets met later too
		x := &list[i]
		x.Summary, x.Detail = d.secrets.Hide(x.Summary), d.secrets.Hide(x.Detail)
		x.Snippet = d.secrets.Mask(x.Snippet) // the mark below still stands right
	}
	list.sort()
	return list
}

func (d Diagnostics) sort() {
	slices.SortStableFunc(d, func(a, b Diagnostic) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}

// Place puts diagnostics that were found after the files were read, by
// whichever instance was first, in the order of their places, and adds the lines
// that they point at. text returns a file, or nil.
func (d Diagnostics) Place(text func(file string) []byte) {
	for i := range d {
		if x := &d[i]; x.Snippet == "" && x.Line > 0 {
			x.Snippet = snippet(text(x.File), x.Range)
		}
	}
	d.sort()
}

// ToRange is a place as HCL has it.
func ToRange(r hcl.Range) Range {
	return Range{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column, EndLine: r.End.Line, EndColumn: r.End.Column}
}

// Place returns a range as HCL has it.
func (r Range) Place() *hcl.Range {
	return &hcl.Range{Filename: r.File, Start: hcl.Pos{Line: r.Line, Column: r.Column}, End: hcl.Pos{Line: r.EndLine, Column: r.EndColumn}}
}

// snippet returns the lines of a range, at most three of at most 200 bytes.
func snippet(src []byte, r Range) string {
	if r.Line == 0 || src == nil {
		return ""
	}
	end := min(max(r.EndLine, r.Line), r.Line+2)
	if r.EndColumn == 1 && end > r.Line { // ends before the line begins
		end--
	}
	var part []string
	for n := 1; n <= end; n++ {
		line, rest, more := bytes.Cut(src, []byte{'\n'})
		if src = rest; n >= r.Line {
			l := strings.TrimRight(string(line), "\r")
			if len(l) > 200 {
				l = strings.ToValidUTF8(l[:200], "") + "…"
			}
			part = append(part, l)
		}
		if !more {
			break
		}
	}
	return strings.Join(part, "\n")
}

// WriteText writes the diagnostics for people: what, where, the lines with the
// place marked, and the detail.
func (d Diagnostics) WriteText(w io.Writer, color bool) {
	paint := func(code, s string) string {
		if !color {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	for i, x := range d {
		if i > 0 {
			_, _ = fmt.Fprintln(w)
		}
		head := paint("1;31", "Error")
		if x.Severity == schema.Warning {
			head = paint("1;33", "Warning")
		}
		_, _ = fmt.Fprintf(w, "%s: %s\n", head, printable(x.Summary))
		if x.File != "" {
			where := x.File
			if x.Line > 0 {
				where = fmt.Sprintf("%s:%d:%d", x.File, x.Line, x.Column)
			}
			if x.Address != "" {
				where += ", in " + x.Address
			}
			_, _ = fmt.Fprintf(w, "  at %s\n", where)
		}
		for n, line := range strings.Split(x.Snippet, "\n") {
			if x.Snippet == "" {
				break
			}
			_, _ = fmt.Fprintf(w, "  %4d │ %s\n", x.Line+n, printable(line))
			if from, to := x.Column, min(x.EndColumn, utf8.RuneCountInString(line)+1); n == 0 && x.EndLine == x.Line && from > 0 && to > from {
				under := strings.Repeat(" ", from-1) + strings.Repeat("^", to-from)
				_, _ = fmt.Fprintf(w, "       │ %s\n", paint("31", under))
			}
		}
		if x.Detail != "" {
			for _, line := range strings.Split(strings.TrimSpace(x.Detail), "\n") {
				_, _ = fmt.Fprintf(w, "  %s\n", printable(line))
			}
		}
	}
}

// printable replaces control characters: a file may hold anything.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}

// Suggest returns ` Did you mean "x"?` for the nearest known name, or lists the
// few that there are.
func Suggest(got string, known []string) string {
	if hint := Nearest(got, known); hint != "" {
		return hint
	}
	if len(known) > 0 && len(known) <= 12 {
		return " There are: " + strings.Join(known, ", ") + "."
	}
	return ""
}

// Nearest returns ` Did you mean "x"?` for the nearest known name, or nothing.
func Nearest(got string, known []string) string {
	if len(got) > 200 {
		return "" // nobody's typing error
	}
	best, distance := "", max(2, len(got)/3)+1
	if len(got) < 3 {
		distance = 2
	}
	for _, k := range known {
		if n := levenshtein.Distance(got, k, nil); n < distance {
			best, distance = k, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" Did you mean %q?", best)
}

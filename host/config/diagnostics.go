package config

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"

	"github.com/pluginhost/host/sdk/schema"
)

// maxDiagnostics bounds what is told of one configuration.
const maxDiagnostics = 500

// diagnostics collects what is wrong, and keeps secrets out of it.
type diagnostics struct {
	list    Diagnostics
	sources map[string][]byte // by file name
	secrets []string
	address string // of what is looked at now
}

func newDiagnostics() *diagnostics { return &diagnostics{sources: map[string][]byte{}} }

// problem adds an error at a place, which may be nil.
func (d *diagnostics) problem(summary, detail string, at *hcl.Range) {
	d.add(schema.Error, summary, detail, at)
}

func (d *diagnostics) add(severity schema.Severity, summary, detail string, at *hcl.Range) {
	if len(d.list) >= maxDiagnostics {
		return
	}
	x := Diagnostic{Severity: severity, Summary: d.scrub(summary), Detail: d.scrub(detail), Address: d.address}
	if at != nil {
		x.Range = toRange(*at)
		x.Snippet = snippet(d.sources[at.Filename], x.Range)
	}
	if !slices.Contains(d.list, x) {
		d.list = append(d.list, x)
	}
}

// hcl adds what HCL has to say.
func (d *diagnostics) hcl(ds hcl.Diagnostics) {
	for _, x := range ds {
		severity := schema.Error
		if x.Severity == hcl.DiagWarning {
			severity = schema.Warning
		}
		d.add(severity, x.Summary, x.Detail, x.Subject)
	}
}

// secret remembers a value that no message may hold.
func (d *diagnostics) secret(s string) {
	if len(s) >= 3 { // shorter ones stand in every text
		d.secrets = append(d.secrets, s)
	}
}

func (d *diagnostics) scrub(s string) string {
	for _, x := range d.secrets {
		s = strings.ReplaceAll(s, x, "(secret)")
	}
	return s
}

// sorted returns what was collected, by place; what has none comes first.
func (d *diagnostics) sorted() Diagnostics {
	list := slices.Clone(d.list)
	slices.SortStableFunc(list, func(a, b Diagnostic) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return list
}

func toRange(r hcl.Range) Range {
	return Range{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column, EndLine: r.End.Line, EndColumn: r.End.Column}
}

// snippet returns the lines of a range, at most three of at most 200 bytes.
func snippet(src []byte, r Range) string {
	if r.Line == 0 || src == nil {
		return ""
	}
	lines := strings.Split(string(src), "\n")
	end := min(max(r.EndLine, r.Line), r.Line+2, len(lines))
	if r.EndColumn == 1 && end > r.Line { // ends before the line begins
		end--
	}
	if r.Line > end {
		return ""
	}
	part := slices.Clone(lines[r.Line-1 : end])
	for i, l := range part {
		l = strings.TrimRight(l, "\r")
		if len(l) > 200 {
			l = strings.ToValidUTF8(l[:200], "") + "…"
		}
		part[i] = l
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
			if n == 0 && x.EndLine == x.Line && x.EndColumn > x.Column {
				under := strings.Repeat(" ", x.Column-1) + strings.Repeat("^", x.EndColumn-x.Column)
				_, _ = fmt.Fprintf(w, "       │ %s\n", paint("31", under))
			}
		}
		if x.Detail != "" {
			_, _ = fmt.Fprintf(w, "  %s\n", printable(x.Detail))
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

// suggest returns ` Did you mean "x"?` for the nearest known name, or lists the
// few that there are.
func suggest(got string, known []string) string {
	best, distance := "", max(2, len(got)/3)+1
	for _, k := range known {
		if n := levenshtein.Distance(got, k, nil); n < distance {
			best, distance = k, n
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf(" Did you mean %q?", best)
	case len(known) > 0 && len(known) <= 12:
		return " There are: " + strings.Join(known, ", ") + "."
	}
	return ""
}

// Package terminal prints for people: columns, colours where somebody looks, and
// nothing that could command a terminal. It knows nothing of what it prints; the
// commands and package report call it.
package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// Colour is the number of a colour of ANSI terminals.
type Colour int

// The colours of a traffic light.
const (
	Red    Colour = 31
	Green  Colour = 32
	Yellow Colour = 33
)

// Printer prints to a terminal or to anything else.
type Printer struct {
	io.Writer
	Coloured bool // it is a terminal, and colours are wanted
}

// New returns a printer to w, with colours if they are wanted and w is a terminal.
func New(w io.Writer, colours bool) Printer {
	return Printer{Writer: w, Coloured: colours && Is(w)}
}

// Is reports whether w is a terminal.
func Is(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Printf prints a text. Nobody can be told that it did not arrive.
func (p Printer) Printf(format string, args ...any) {
	_, _ = fmt.Fprintf(p, format, args...)
}

// Paint colours a text where colours are wanted.
func (p Printer) Paint(c Colour, s string) string {
	if !p.Coloured {
		return s
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, s)
}

// Table prints rows in columns, each cell plain. Rows may have fewer cells than
// others.
func (p Printer) Table(rows ...[]string) {
	width := 0
	for _, r := range rows {
		width = max(width, len(r))
	}
	var text strings.Builder
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		cells := make([]string, width) // a row of fewer would end the columns
		for i := range r {
			cells[i] = Plain(r[i])
		}
		_, _ = fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	_ = t.Flush() // a builder takes everything
	for line := range strings.Lines(text.String()) {
		p.Printf("%s\n", strings.TrimRight(line, " \n"))
	}
}

// Plain keeps control characters, which may come from anywhere, off a terminal:
// each becomes a space.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// Short shortens a duration for people.
func Short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// Count counts things whose plural ends in s: 1 error, 2 errors.
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

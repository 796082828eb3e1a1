package diagnostic_test

import (
	"strings"
	"testing"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/sdk/schema"
)

// What instances say arrives in any order, and reads as what the parser says.
func TestPlace(t *testing.T) {
	at := func(file string, line, column, end int) diagnostic.Range {
		return diagnostic.Range{File: file, Line: line, Column: column, EndLine: line, EndColumn: end}
	}
	d := diagnostic.Diagnostics{
		{Severity: schema.Error, Summary: "last", Range: at("/etc/b.hcl", 1, 1, 2)},
		{Severity: schema.Error, Summary: "second", Range: at("/etc/a.hcl", 2, 3, 5)},
		{Severity: schema.Error, Summary: "nowhere"},
		{Severity: schema.Error, Summary: "first", Range: at("/etc/a.hcl", 2, 1, 2), Snippet: "as it was"},
	}
	d.Place(func(file string) []byte {
		if file != "/etc/a.hcl" {
			return nil
		}
		return []byte("one\ntwo = 2\n")
	})
	var text strings.Builder
	d.WriteText(&text, false)
	want := `Error: nowhere

Error: first
  at /etc/a.hcl:2:1
     2 │ as it was
       │ ^

Error: second
  at /etc/a.hcl:2:3
     2 │ two = 2
       │   ^^

Error: last
  at /etc/b.hcl:1:1
`
	if text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", text.String(), want)
	}
}

// A line is shown without its end, however that is written, and cut.
func TestSnippet(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"a = 1\r\n", "a = 1"},
		{"a" + strings.Repeat("\r", 300) + "/\n", "a" + strings.Repeat("\r", 199) + "…"},
		{"a" + strings.Repeat("\r", 300) + "\nb", "a"},
		{strings.Repeat("x", 201), strings.Repeat("x", 200) + "…"},
		{strings.Repeat("x", 200) + "\r\r\n", strings.Repeat("x", 200)},
	} {
		d := diagnostic.Diagnostics{{Range: diagnostic.Range{File: "a.hcl", Line: 1, Column: 1, EndLine: 1, EndColumn: 2}}}
		d.Place(func(string) []byte { return []byte(c.src) })
		if got := d[0].Snippet; got != c.want {
			t.Errorf("%q shows %q, want %q", c.src, got, c.want)
		}
	}
}

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

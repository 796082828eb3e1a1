package syntax

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/pluginhost/host/host/config/diagnostic"
)

// Format returns the canonical form of a file. A file that cannot be parsed is
// not formatted.
func Format(src []byte, filename string) ([]byte, diagnostic.Diagnostics) {
	f := &File{Name: filename, Text: src}
	diags := diagnostic.NewList()
	if len(src) > MaxFile {
		diags.Problem("A file cannot be read", fmt.Sprintf("%s has over %d MiB", filename, MaxFile>>20), &hcl.Range{Filename: filename})
		return nil, diags.Sorted()
	}
	f.Parse(diags)
	if list := diags.Sorted(); list.HasErrors() {
		return nil, list
	}
	return hclwrite.Format(src), nil
}

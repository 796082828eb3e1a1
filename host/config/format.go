package config

import "github.com/hashicorp/hcl/v2/hclwrite"

// Format returns the canonical form of a file. A file that cannot be parsed is
// not formatted.
func Format(src []byte, filename string) ([]byte, Diagnostics) {
	f := &source{name: filename, bytes: src}
	diags := newDiagnostics()
	f.parse(diags)
	if list := diags.sorted(); list.HasErrors() {
		return nil, list
	}
	return hclwrite.Format(src), nil
}

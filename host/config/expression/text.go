package expression

import (
	"crypto/sha256"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Text returns an expression's text in src, the file that it stands in, with
// white space folded and with a hash of the values that it takes from outside of
// itself. Equal texts mean the same.
func Text(e hclsyntax.Expression, ctx *hcl.EvalContext, src []byte) string {
	text := folded(e, src)
	if h := captured(e, ctx); h != "" {
		text += " with " + h
	}
	return text
}

// folded returns an expression's text with white space folded.
func folded(e hclsyntax.Expression, src []byte) string {
	r := e.Range()
	if r.Start.Byte < 0 || r.End.Byte > len(src) || r.Start.Byte > r.End.Byte {
		return ""
	}
	return Fold(src[r.Start.Byte:r.End.Byte])
}

// captured is a hash of the values from outside of an expression, or "".
func captured(e hclsyntax.Expression, ctx *hcl.EvalContext) string {
	h := sha256.New()
	any := false
	for _, t := range e.Variables() {
		if root := t.RootName(); root != "var" && root != "local" {
			continue
		}
		v, diags := t.TraverseAbs(ctx)
		if diags.HasErrors() {
			continue
		}
		v, _ = v.UnmarkDeep()
		any = true
		_, _ = fmt.Fprintf(h, "%#v\n", v)
	}
	for _, call := range OutsideCalls(e) {
		v, diags := call.Value(ctx) // read before: the same value
		if diags.HasErrors() {
			continue
		}
		v, _ = v.UnmarkDeep()
		any = true
		_, _ = fmt.Fprintf(h, "%s %#v\n", call.Name, v)
	}
	if !any {
		return ""
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

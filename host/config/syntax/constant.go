package syntax

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Constant reports whether nothing in the body of a plugin refers to anything or
// calls a function.
func Constant(body *hclsyntax.Body) bool {
	if body.Attributes["depends_on"] != nil {
		return false
	}
	for _, a := range body.Attributes {
		if len(a.Expr.Variables()) > 0 || calls(a.Expr) {
			return false
		}
	}
	for _, x := range body.Blocks {
		if !Constant(x.Body) {
			return false
		}
	}
	return true
}

// calls reports whether an expression calls a function.
func calls(e hclsyntax.Expression) bool {
	found := false
	_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics { // the visitor says nothing
		if _, ok := n.(*hclsyntax.FunctionCallExpr); ok {
			found = true
		}
		return nil
	})
	return found
}

package expression

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/function"
)

// untold stands for the detail of an error in which a secret takes part: it may
// quote something made from the secret, which no search would find.
const untold = "A secret takes part in this expression, so that what is wrong with its value is not told."

// explain returns the detail of a problem, or that it cannot be told.
func explain(d *hcl.Diagnostic, whole hclsyntax.Expression, ctx *hcl.EvalContext) string {
	at, ok := d.Expression.(hclsyntax.Expression)
	if !ok {
		at = whole
	}
	if d.EvalContext != nil {
		ctx = d.EvalContext
	}
	if call, ok := at.(*hclsyntax.FunctionCallExpr); ok && function.Marks(call.Name) {
		// env("X") is not set: that is no secret, unless the name is.
		if extra, ok := d.Extra.(hclsyntax.FunctionCallDiagExtra); ok && extra.CalledFunctionName() == call.Name {
			for _, a := range call.Args {
				if touchesSecret(a, ctx) {
					return untold
				}
			}
			return d.Detail
		}
	}
	if touchesSecret(at, ctx) {
		return untold
	}
	return d.Detail
}

// touchesSecret reports whether a secret may take part in an expression.
func touchesSecret(e hclsyntax.Expression, ctx *hcl.EvalContext) bool {
	secret := false
	for _, t := range e.Variables() {
		if v, ok := variable(ctx, t.RootName()); ok && v != cty.NilVal {
			if part, diags := t.TraverseAbs(ctx); !diags.HasErrors() {
				v = part
			}
			secret = secret || v.ContainsMarked()
		}
	}
	_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok && function.Marks(call.Name) {
			secret = true
		}
		return nil
	})
	return secret
}

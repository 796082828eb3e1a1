package expression

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/pluginhost/host/host/config/expression/field"
	"github.com/pluginhost/host/sdk/wire"
)

// maxShown bounds the bytes of a value that is shown beside a clause.
const maxShown = 64

// clause is one of the conditions that && joins in a when.
type clause struct {
	expr hclsyntax.Expression
	text string
}

// clauses cuts an expression at its outer &&.
func clauses(e hclsyntax.Expression, src []byte) []clause {
	switch x := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return clauses(x.Expression, src)
	case *hclsyntax.BinaryOpExpr:
		if x.Op == hclsyntax.OpLogicalAnd {
			return append(clauses(x.LHS, src), clauses(x.RHS, src)...)
		}
	}
	r := e.Range()
	if r.Start.Byte < 0 || r.End.Byte > len(src) || r.Start.Byte > r.End.Byte {
		return []clause{{e, "when"}}
	}
	return []clause{{e, strings.Join(strings.Fields(string(src[r.Start.Byte:r.End.Byte])), " ")}}
}

// Why says which clauses of a when do not hold for an event, and what they
// saw: "event.data.total > 0 is false (event.data.total is 0)". It is empty
// when all hold. It evaluates each on its own, and is slower than Bool.
func (e *Expr) Why(ev *wire.Event) string {
	var wrong []string
	for _, c := range e.clauses {
		v, err := e.evalOf(c.expr, ev)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s fails: %v", e.secrets.Hide(c.text), err))
			continue
		}
		v, _ = v.UnmarkDeep()
		b, err := convert.Convert(v, cty.Bool)
		switch {
		case err != nil || b.IsNull() || !b.IsKnown():
			wrong = append(wrong, e.secrets.Hide(c.text)+" is neither true nor false"+e.saw(c.expr, ev))
		case b.False():
			wrong = append(wrong, e.secrets.Hide(c.text)+" is false"+e.saw(c.expr, ev))
		}
	}
	return strings.Join(wrong, "; ")
}

// saw shows the fields of the event that a clause reads, where they are short
// and plain.
func (e *Expr) saw(x hclsyntax.Expression, ev *wire.Event) string {
	var parts []string
	seen := map[string]bool{}
	for _, t := range x.Variables() {
		name := strings.Join(append([]string{t.RootName()}, field.Path(t[1:])...), ".")
		if t.RootName() != "event" || seen[name] {
			continue
		}
		seen[name] = true
		v, err := e.evalOf(&hclsyntax.ScopeTraversalExpr{Traversal: t, SrcRange: x.Range()}, ev)
		if err != nil {
			parts = append(parts, name+" is not there")
			continue
		}
		v, _ = v.UnmarkDeep()
		if !v.IsWhollyKnown() || !v.IsNull() && !v.Type().IsPrimitiveType() {
			continue
		}
		if b, err := (ctyjson.SimpleJSONValue{Value: v}).MarshalJSON(); err == nil && len(b) <= maxShown {
			parts = append(parts, fmt.Sprintf("%s is %s", name, e.secrets.Hide(string(b))))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

package syntax

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/expression"
	"github.com/pluginhost/host/sdk/schema"
)

// Reader reads the attributes of a block whose form is the host's own: host,
// variable, process, delivery. It remembers what it was asked for, so that done
// can name what nobody asked for.
type Reader struct {
	Body  *hclsyntax.Body
	Ctx   *hcl.EvalContext
	diags *diagnostic.List
	what  string
	asked map[string]bool
	named map[string]bool // blocks

	secret bool // the last value: it must not be quoted
}

// NewReader returns a reader of a block. what names it in messages.
func NewReader(body *hclsyntax.Body, what string, ctx *hcl.EvalContext, diags *diagnostic.List) *Reader {
	return &Reader{Body: body, Ctx: ctx, diags: diags, what: what, asked: map[string]bool{}, named: map[string]bool{}}
}

// Expr returns an attribute's expression, or nil.
func (r *Reader) Expr(name string) hclsyntax.Expression {
	r.asked[name] = true
	if a := r.Body.Attributes[name]; a != nil {
		return a.Expr
	}
	return nil
}

// Value evaluates an attribute to a type. ok is false when it is absent, null
// or wrong.
func (r *Reader) Value(name string, t cty.Type) (v cty.Value, at *hcl.Range, ok bool) {
	e := r.Expr(name)
	if e == nil {
		return cty.NilVal, nil, false
	}
	at = e.Range().Ptr()
	v, ok = expression.Eval(e, r.Ctx, r.diags)
	if !ok || v.IsNull() {
		return cty.NilVal, at, false
	}
	c, err := convert.Convert(v, t)
	if r.secret = v.ContainsMarked(); r.secret && err != nil {
		err = fmt.Errorf("it is not %s; the value is secret and not shown", t.FriendlyName())
	}
	if err != nil {
		r.diags.Problem("Wrong type", fmt.Sprintf("%s of %s: %s.", name, r.what, err), at)
		return cty.NilVal, at, false
	}
	v, _ = c.UnmarkDeep() // nothing here is shown again
	return v, at, v.IsWhollyKnown()
}

// unquoted returns a detail that may quote the last value, unless that is secret.
func (r *Reader) unquoted(name, detail string) string {
	if r.secret {
		return fmt.Sprintf("%s of %s does not fit. The value is secret and not shown.", name, r.what)
	}
	return detail
}

// Text reads a string. An absent attribute leaves what there is.
func (r *Reader) Text(name string, to *string) {
	if v, _, ok := r.Value(name, cty.String); ok {
		*to = v.AsString()
	}
}

// Flag reads a bool. An absent attribute leaves what there is.
func (r *Reader) Flag(name string, to *bool) {
	if v, _, ok := r.Value(name, cty.Bool); ok {
		*to = v.True()
	}
}

// OneOf reads one of a few strings. An absent attribute leaves what there is.
func (r *Reader) OneOf(name string, to *string, allowed ...string) {
	v, at, ok := r.Value(name, cty.String)
	if !ok {
		return
	}
	if s := v.AsString(); slices.Contains(allowed, s) {
		*to = s
	} else {
		detail := fmt.Sprintf("%s of %s cannot be %q.%s", name, r.what, s, diagnostic.Suggest(s, slices.DeleteFunc(slices.Clone(allowed), func(a string) bool { return a == "" })))
		r.diags.Problem("Not one of the values", r.unquoted(name, detail), at)
	}
}

// Number reads a whole number within bounds. An absent attribute leaves what there is.
func (r *Reader) Number(name string, to *int, low, high int) {
	v, at, ok := r.Value(name, cty.Number)
	if !ok {
		return
	}
	n, acc := v.AsBigFloat().Int64()
	if acc != big.Exact || n < int64(low) || n > int64(high) {
		r.diags.Problem("Out of range", fmt.Sprintf("%s of %s is a whole number from %d to %d.", name, r.what, low, high), at)
		return
	}
	*to = int(n)
}

// Duration reads a duration within bounds. An absent attribute leaves what there is.
func (r *Reader) Duration(name string, to *time.Duration, low, high time.Duration) {
	v, at, ok := r.Value(name, cty.DynamicPseudoType)
	if !ok {
		return
	}
	d, err := ParseDuration(v)
	if err == nil && (d < low || d > high) {
		err = fmt.Errorf("it is from %s to %s", low, high)
	}
	if err != nil {
		r.diags.Problem("Not a usable duration", r.unquoted(name, fmt.Sprintf("%s of %s: %s.", name, r.what, err)), at)
		return
	}
	*to = d
}

// Bytes reads a size. An absent attribute leaves what there is.
func (r *Reader) Bytes(name string, to *int64) {
	v, at, ok := r.Value(name, cty.DynamicPseudoType)
	if !ok {
		return
	}
	n, err := ParseBytes(v)
	if err != nil {
		r.diags.Problem("Not a number of bytes", r.unquoted(name, fmt.Sprintf("%s of %s: %s.", name, r.what, err)), at)
		return
	}
	*to = n
}

// Block returns a block inside, which an attribute with an object may stand in
// for: restart = { … }. The reader is nil when there is neither.
func (r *Reader) Block(name string) *Reader {
	r.named[name] = true
	var found *hclsyntax.Block
	for _, b := range r.Body.Blocks {
		if b.Type != name {
			continue
		}
		if found != nil {
			r.diags.Problem("Defined twice", fmt.Sprintf("%s has two blocks %s.", r.what, name), b.TypeRange.Ptr())
			continue
		}
		found = b
	}
	if found != nil {
		return NewReader(found.Body, name+" of "+r.what, r.Ctx, r.diags)
	}
	e := r.Expr(name)
	if e == nil {
		return nil
	}
	object, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		r.diags.Problem("Wrong type", fmt.Sprintf("%s of %s is an object: %s = { … }.", name, r.what, name), e.Range().Ptr())
		return nil
	}
	body := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, SrcRange: object.SrcRange}
	for _, item := range object.Items {
		key := hcl.ExprAsKeyword(item.KeyExpr)
		if key == "" {
			r.diags.Problem("Not a name", "Write the name as it is, without quotes.", item.KeyExpr.Range().Ptr())
			continue
		}
		if _, twice := body.Attributes[key]; twice {
			r.diags.Problem("Defined twice", fmt.Sprintf("%s of %s has %s twice.", name, r.what, key), item.KeyExpr.Range().Ptr())
			continue
		}
		body.Attributes[key] = &hclsyntax.Attribute{Name: key, Expr: item.ValueExpr, NameRange: item.KeyExpr.Range(),
			SrcRange: hcl.RangeBetween(item.KeyExpr.Range(), item.ValueExpr.Range())}
	}
	return NewReader(body, name+" of "+r.what, r.Ctx, r.diags)
}

// Done names what is in the block and was not asked for.
func (r *Reader) Done() {
	known := append(slices.Collect(maps.Keys(r.asked)), slices.Collect(maps.Keys(r.named))...)
	slices.Sort(known)
	known = slices.Compact(known)
	for _, a := range SortedAttrs(r.Body) {
		if !r.asked[a.Name] {
			r.diags.Problem("Unknown attribute", fmt.Sprintf("%s has no attribute %q.%s", r.what, a.Name, diagnostic.Suggest(a.Name, known)), a.NameRange.Ptr())
		}
	}
	for _, b := range r.Body.Blocks {
		if !r.named[b.Type] {
			r.diags.Problem("Unknown block", fmt.Sprintf("%s has no block %q.%s", r.what, b.Type, diagnostic.Suggest(b.Type, known)), b.TypeRange.Ptr())
		}
	}
}

// ParseDuration reads "1m30s".
func ParseDuration(v cty.Value) (time.Duration, error) {
	if v.Type() == cty.Number {
		return 0, fmt.Errorf("a number has no unit: write \"%ss\" for seconds", v.AsBigFloat().Text('f', -1))
	}
	if v.Type() != cty.String {
		return 0, fmt.Errorf("write a duration such as \"10s\", \"1m30s\" or \"250ms\"")
	}
	d, err := time.ParseDuration(strings.TrimSpace(v.AsString()))
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as \"10s\", \"1m30s\" or \"250ms\"", v.AsString())
	}
	return d, nil
}

// ParseBytes reads "64KiB", "1.5MB" or a number.
func ParseBytes(v cty.Value) (int64, error) {
	text := ""
	switch v.Type() {
	case cty.Number:
		text = v.AsBigFloat().Text('g', 20) // 1e+30 is not a number of bytes
	case cty.String:
		text = v.AsString()
	}
	return schema.ParseBytes(text)
}

// SortedAttrs returns the attributes of a body as they stand in it.
func SortedAttrs(b *hclsyntax.Body) []*hclsyntax.Attribute {
	return slices.SortedFunc(maps.Values(b.Attributes), func(x, y *hclsyntax.Attribute) int {
		return x.NameRange.Start.Byte - y.NameRange.Start.Byte
	})
}

// ListItem returns the expression of an element of a list, or the whole.
func ListItem(e hclsyntax.Expression, i int) hclsyntax.Expression {
	if t, ok := e.(*hclsyntax.TupleConsExpr); ok && i < len(t.Exprs) {
		return t.Exprs[i]
	}
	return e
}

// ObjectItem returns the expression of a field of an object, or the whole.
func ObjectItem(e hclsyntax.Expression, name string) hclsyntax.Expression {
	if o, ok := e.(*hclsyntax.ObjectConsExpr); ok {
		for _, item := range o.Items {
			if isKey(item.KeyExpr, name) {
				return item.ValueExpr
			}
		}
	}
	return e
}

// ObjectKey returns where a field of an object is named, or the whole; nil for
// none.
func ObjectKey(e hclsyntax.Expression, name string) *hcl.Range {
	if o, ok := e.(*hclsyntax.ObjectConsExpr); ok {
		for _, item := range o.Items {
			if isKey(item.KeyExpr, name) {
				return item.KeyExpr.Range().Ptr()
			}
		}
	}
	return RangeOf(e)
}

func isKey(e hclsyntax.Expression, name string) bool {
	if hcl.ExprAsKeyword(e) == name {
		return true
	}
	v, diags := e.Value(nil)
	return !diags.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() && v.AsString() == name
}

// RangeOf returns where an expression stands; nil for none.
func RangeOf(e hclsyntax.Expression) *hcl.Range {
	if e == nil {
		return nil
	}
	return e.Range().Ptr()
}

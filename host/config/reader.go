package config

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
)

// reader reads the attributes of a block whose form is the host's own: host,
// variable, process, delivery. It remembers what it was asked for, so that done
// can name what nobody asked for.
type reader struct {
	f     *Files
	body  *hclsyntax.Body
	what  string
	ctx   *hcl.EvalContext
	asked map[string]bool
	named map[string]bool // blocks
}

func (f *Files) reader(body *hclsyntax.Body, what string, ctx *hcl.EvalContext) *reader {
	return &reader{f: f, body: body, what: what, ctx: ctx, asked: map[string]bool{}, named: map[string]bool{}}
}

// expr returns an attribute's expression, or nil.
func (r *reader) expr(name string) hclsyntax.Expression {
	r.asked[name] = true
	if a := r.body.Attributes[name]; a != nil {
		return a.Expr
	}
	return nil
}

// value evaluates an attribute to a type. ok is false when it is absent, null
// or wrong.
func (r *reader) value(name string, t cty.Type) (v cty.Value, at *hcl.Range, ok bool) {
	e := r.expr(name)
	if e == nil {
		return cty.NilVal, nil, false
	}
	at = e.Range().Ptr()
	v, ok = r.f.eval(e, r.ctx)
	if !ok || v.IsNull() {
		return cty.NilVal, at, false
	}
	v, err := convert.Convert(v, t)
	if err != nil {
		r.f.diags.problem("Wrong type", fmt.Sprintf("%s of %s: %s.", name, r.what, err), at)
		return cty.NilVal, at, false
	}
	v, _ = v.UnmarkDeep() // nothing here is shown again
	return v, at, v.IsWhollyKnown()
}

func (r *reader) text(name string, to *string) {
	if v, _, ok := r.value(name, cty.String); ok {
		*to = v.AsString()
	}
}

func (r *reader) flag(name string, to *bool) {
	if v, _, ok := r.value(name, cty.Bool); ok {
		*to = v.True()
	}
}

func (r *reader) oneOf(name string, to *string, allowed ...string) {
	v, at, ok := r.value(name, cty.String)
	if !ok {
		return
	}
	if s := v.AsString(); slices.Contains(allowed, s) {
		*to = s
	} else {
		r.f.diags.problem("Not one of the values", fmt.Sprintf("%s of %s cannot be %q.%s", name, r.what, s, suggest(s, allowed)), at)
	}
}

func (r *reader) number(name string, to *int, low, high int) {
	v, at, ok := r.value(name, cty.Number)
	if !ok {
		return
	}
	n, acc := v.AsBigFloat().Int64()
	if acc != big.Exact || n < int64(low) || n > int64(high) {
		r.f.diags.problem("Out of range", fmt.Sprintf("%s of %s is a whole number from %d to %d.", name, r.what, low, high), at)
		return
	}
	*to = int(n)
}

func (r *reader) duration(name string, to *time.Duration, low, high time.Duration) {
	v, at, ok := r.value(name, cty.DynamicPseudoType)
	if !ok {
		return
	}
	d, err := parseDuration(v)
	if err == nil && (d < low || d > high) {
		err = fmt.Errorf("it is from %s to %s", low, high)
	}
	if err != nil {
		r.f.diags.problem("Not a usable duration", fmt.Sprintf("%s of %s: %s.", name, r.what, err), at)
		return
	}
	*to = d
}

func (r *reader) bytes(name string, to *int64) {
	v, at, ok := r.value(name, cty.DynamicPseudoType)
	if !ok {
		return
	}
	n, err := parseBytes(v)
	if err != nil {
		r.f.diags.problem("Not a number of bytes", fmt.Sprintf("%s of %s: %s.", name, r.what, err), at)
		return
	}
	*to = n
}

// block returns a block inside, which an attribute with an object may stand in
// for: restart = { … }. The reader is nil when there is neither.
func (r *reader) block(name string) *reader {
	r.named[name] = true
	var found *hclsyntax.Block
	for _, b := range r.body.Blocks {
		if b.Type != name {
			continue
		}
		if found != nil {
			r.f.diags.problem("Defined twice", fmt.Sprintf("%s has two blocks %s.", r.what, name), b.TypeRange.Ptr())
			continue
		}
		found = b
	}
	if found != nil {
		return r.f.reader(found.Body, name+" of "+r.what, r.ctx)
	}
	e := r.expr(name)
	if e == nil {
		return nil
	}
	object, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		r.f.diags.problem("Wrong type", fmt.Sprintf("%s of %s is an object: %s = { … }.", name, r.what, name), e.Range().Ptr())
		return nil
	}
	body := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, SrcRange: object.SrcRange}
	for _, item := range object.Items {
		key := hcl.ExprAsKeyword(item.KeyExpr)
		if key == "" {
			r.f.diags.problem("Not a name", "Write the name as it is, without quotes.", item.KeyExpr.Range().Ptr())
			continue
		}
		body.Attributes[key] = &hclsyntax.Attribute{Name: key, Expr: item.ValueExpr, NameRange: item.KeyExpr.Range()}
	}
	return r.f.reader(body, name+" of "+r.what, r.ctx)
}

// done names what is in the block and was not asked for.
func (r *reader) done() {
	known := append(slices.Collect(maps.Keys(r.asked)), slices.Collect(maps.Keys(r.named))...)
	slices.Sort(known)
	known = slices.Compact(known)
	for _, a := range sortedAttrs(r.body) {
		if !r.asked[a.Name] {
			r.f.diags.problem("Unknown attribute", fmt.Sprintf("%s has no attribute %q.%s", r.what, a.Name, suggest(a.Name, known)), a.NameRange.Ptr())
		}
	}
	for _, b := range r.body.Blocks {
		if !r.named[b.Type] {
			r.f.diags.problem("Unknown block", fmt.Sprintf("%s has no block %q.%s", r.what, b.Type, suggest(b.Type, known)), b.TypeRange.Ptr())
		}
	}
}

// parseDuration reads "1m30s".
func parseDuration(v cty.Value) (time.Duration, error) {
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

var byteUnits = map[string]int64{
	"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// parseBytes reads "64KiB", "1.5MB" or a number.
func parseBytes(v cty.Value) (int64, error) {
	hint := fmt.Errorf("write a size such as \"64KiB\", \"10MB\" or a number of bytes")
	var f *big.Float
	switch v.Type() {
	case cty.Number:
		f = v.AsBigFloat()
	case cty.String:
		s := strings.TrimSpace(v.AsString())
		n := strings.LastIndexAny(s, "0123456789.") + 1
		unit, ok := byteUnits[strings.ToLower(strings.TrimSpace(s[n:]))]
		x, _, err := big.ParseFloat(s[:n], 10, 128, big.ToNearestEven)
		if !ok || err != nil {
			return 0, hint
		}
		f = x.Mul(x, new(big.Float).SetInt64(unit))
	default:
		return 0, hint
	}
	n, acc := f.Int64()
	if n < 0 || acc != big.Exact {
		return 0, hint
	}
	return n, nil
}

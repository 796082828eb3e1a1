package function

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// Bounds of one value, whether a function or an operator made it.
const (
	MaxString   = 1 << 20 // bytes
	MaxElements = 10_000  // of one list, map or object
	MaxWeight   = 200_000 // of the whole, see Weight
	maxDepth    = 200     // of lists in lists
	maxFile     = 1 << 20 // bytes read by file()
	maxExponent = 8192    // of a number, to the base of 2
	maxPattern  = 4096    // bytes of a regular expression
	maxWidth    = 4096    // that format() pads to
	maxMatching = 100_000_000
)

// ErrTooLarge is said of a value whose weight is MaxWeight or more.
var ErrTooLarge = fmt.Errorf("it has over %d elements with all that is in it, nests over %d deep, or holds a number of over 2,400 digits", MaxWeight, maxDepth)

// Weight says how much work a value is: one for each element at any depth, and
// one for every sixteen bytes of text. Lists that hold the same list many times
// are small in memory and large once somebody walks through them, so that it
// counts what a walk would meet. It stops at limit.
func Weight(v cty.Value, limit int) int { return weight(v, limit, 0) }

func weight(v cty.Value, limit, depth int) int {
	v, _ = v.Unmark()
	if v == cty.NilVal || !v.IsKnown() || v.IsNull() {
		return min(1, limit)
	}
	n := 1
	switch t := v.Type(); {
	case t == cty.String:
		n += len(v.AsString()) / 16
	case t == cty.Number:
		if e := v.AsBigFloat().MantExp(nil); e > maxExponent || e < -maxExponent {
			return limit // as text it would have any number of digits
		}
	case t.IsTupleType() || t.IsObjectType() || t.IsCollectionType():
		if depth > maxDepth {
			return limit
		}
		for it := v.ElementIterator(); it.Next() && n < limit; {
			k, x := it.Element()
			if !t.IsSetType() && k.Type() == cty.String {
				n += len(k.AsString()) / 16
			}
			n += weight(x, limit-n, depth+1)
		}
	}
	return min(n, limit)
}

// Bounded reports an error for a value that is too large.
func Bounded(v cty.Value) error {
	plain, _ := v.Unmark()
	if plain == cty.NilVal || !plain.IsKnown() || plain.IsNull() {
		return nil
	}
	switch t := plain.Type(); {
	case t == cty.String:
		if n := len(plain.AsString()); n > MaxString {
			return fmt.Errorf("the result has %d bytes; at most %d are allowed", n, MaxString)
		}
	case t == cty.Number:
		if e := plain.AsBigFloat().MantExp(nil); e > maxExponent || e < -maxExponent {
			return errors.New("the number has over 2,400 digits")
		}
	case t.IsTupleType() || t.IsObjectType() || t.IsCollectionType():
		if n := plain.LengthInt(); n > MaxElements {
			return fmt.Errorf("the result has %d elements; at most %d are allowed", n, MaxElements)
		}
		if Weight(plain, MaxWeight) >= MaxWeight {
			return ErrTooLarge
		}
	}
	return nil
}

// unbounded return what they are given, or look at types only: a wrapper would
// take away what they do with values that are not known or not valid.
var unbounded = map[string]bool{"can": true, "try": true, "nonsecret": true}

// bound refuses arguments that would make too much, where few bytes can do
// that, and results that are too large.
func bound(name string, f function.Function) function.Function {
	if unbounded[name] {
		return f
	}
	refuse := limits[name]
	check := func(args []cty.Value) error {
		if refuse == nil {
			return nil
		}
		for _, a := range args {
			if !a.IsWhollyKnown() || a.IsNull() {
				return nil // there is nothing to make yet, or f says that it is wrong
			}
		}
		return refuse(args)
	}
	return function.New(&function.Spec{
		Description: f.Description(), Params: f.Params(), VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) { // some do all of their work here
			if err := check(args); err != nil {
				return cty.NilType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, err := f.Call(args)
			if err != nil {
				return v, err
			}
			return v, Bounded(v)
		},
	})
}

// limits look at arguments that are known before the work is done.
var limits = map[string]func([]cty.Value) error{
	"format":       limitFormat,
	"formatlist":   limitFormat,
	"indent":       limitIndent,
	"join":         limitJoin,
	"regex":        limitRegex,
	"regexall":     limitRegex,
	"regexreplace": limitRegex,
	"replace":      limitReplace,
	"setproduct":   limitProduct,
	"concat":       limitSum,
	"merge":        limitSum,
	"setunion":     limitSum,
	"yamldecode":   limitYAML,
}

func tooLong(n float64) error {
	if n > MaxString {
		return fmt.Errorf("the result would have up to %.0f bytes; at most %d are allowed", n, MaxString)
	}
	return nil
}

// verb is one of format's.
var verb = regexp.MustCompile(`%[^%a-zA-Z]*[a-zA-Z%]`)

func limitFormat(args []cty.Value) error {
	if args[0].Type() != cty.String {
		return nil
	}
	widest := 0
	for _, a := range args[1:] {
		widest = max(widest, 24*Weight(a, MaxWeight)) // of a number too
		if a.Type() == cty.String {
			widest = max(widest, len(a.AsString()))
		}
	}
	total := float64(len(args[0].AsString()))
	for _, v := range verb.FindAllString(args[0].AsString(), -1) {
		width := widest
		for _, digits := range strings.FieldsFunc(v, func(r rune) bool { return r < '0' || r > '9' }) {
			digits = strings.TrimLeft(digits, "0")
			if len(digits) > 4 || len(digits) == 4 && digits > fmt.Sprint(maxWidth) {
				return fmt.Errorf("%.40q pads to over %d characters", v, maxWidth)
			}
			width = max(width, maxWidth)
		}
		total += float64(width)
	}
	// Not each verb is as wide as the widest argument, so this is only a guard;
	// the result is measured again.
	return tooLong(total - 15*MaxString)
}

func limitIndent(args []cty.Value) error {
	n, _ := args[0].AsBigFloat().Float64()
	s := args[1].AsString()
	return tooLong(float64(len(s)) + math.Abs(n)*float64(strings.Count(s, "\n")+1))
}

func limitJoin(args []cty.Value) error {
	total := 0.0
	for _, list := range args[1:] {
		if !list.CanIterateElements() {
			return nil
		}
		for it := list.ElementIterator(); it.Next(); {
			if _, x := it.Element(); x.Type() == cty.String && !x.IsNull() {
				total += float64(len(args[0].AsString()) + len(x.AsString()))
			}
		}
	}
	return tooLong(total)
}

func limitReplace(args []cty.Value) error {
	s, old, with := args[0].AsString(), args[1].AsString(), args[2].AsString()
	return tooLong(float64(len(s)) + float64(strings.Count(s, old))*float64(len(with)))
}

// limitRegex bounds what a match costs: Go's need time for each byte and each
// instruction of the pattern, and a repeated {1000} is a thousand of those.
func limitRegex(args []cty.Value) error {
	pattern, s := args[0].AsString(), args[1].AsString()
	if len(args) == 3 { // regexreplace has them the other way round
		pattern, s = args[1].AsString(), args[0].AsString()
	}
	if len(pattern) > maxPattern {
		return fmt.Errorf("the pattern has %d bytes; at most %d are allowed", len(pattern), maxPattern)
	}
	re, size := compile(pattern)
	if re == nil {
		return nil // f says what is wrong
	}
	cost := size * len(s)
	if cost > maxMatching {
		return errors.New("the pattern is too much work for so long a text")
	}
	if len(args) == 2 && cost < maxMatching/MaxElements {
		return nil
	}
	// Each of many matches can look at all that follows.
	most := min(maxMatching*4/max(cost, 1), MaxElements) + 1
	matches := re.FindAllStringIndex(s, most)
	if len(matches) == most {
		return errors.New("the pattern matches too often in so long a text")
	}
	if len(args) == 3 {
		with := args[2].AsString()
		total := float64(len(s)) + float64(len(matches))*float64(len(with))
		for _, m := range matches {
			total += float64(m[1]-m[0]) * float64(strings.Count(with, "$"))
		}
		return tooLong(total)
	}
	return nil
}

// compile compiles a pattern and says how many instructions it has; nil when it
// is not one.
func compile(pattern string) (re *regexp.Regexp, size int) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, 0
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, 0
	}
	if re, err = regexp.Compile(pattern); err != nil {
		return nil, 0
	}
	return re, len(prog.Inst)
}

func limitProduct(args []cty.Value) error {
	n := 1.0
	for _, a := range args {
		if !a.CanIterateElements() {
			return nil
		}
		n *= float64(a.LengthInt())
	}
	return tooMany(n)
}

func limitSum(args []cty.Value) error {
	n := 0.0
	for _, a := range args {
		if !a.CanIterateElements() {
			return nil
		}
		n += float64(a.LengthInt())
	}
	return tooMany(n)
}

func tooMany(n float64) error {
	if n > MaxElements {
		return fmt.Errorf("the result would have up to %.0f elements; at most %d are allowed", n, MaxElements)
	}
	return nil
}

// alias is a reference to an earlier part of a YAML text, which is copied.
var alias = regexp.MustCompile(`(?m)(^|[\s,:\[{-])\*[^\s,\]}]`)

// limitYAML refuses what a few bytes could make: aliases of aliases double with
// each line, and the parser is slow for brackets in brackets.
func limitYAML(args []cty.Value) error {
	s := args[0].AsString()
	if n := len(alias.FindAllStringIndex(s, 17)); n > 16 || n > 0 && len(s) > 64<<10 {
		return errors.New("a YAML text has at most 16 aliases (*name), and none when it has over 64 KiB")
	}
	depth := 0
	for _, c := range []byte(s) {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		}
		if depth > maxDepth {
			return fmt.Errorf("the YAML text nests brackets over %d deep", maxDepth)
		}
	}
	return nil
}

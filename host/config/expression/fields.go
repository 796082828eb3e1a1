package expression

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// want says which fields of a JSON payload are read.
type want struct {
	all    bool
	fields map[string]*want
	nulls  []string // of fields: those that are null when they are absent
}

// declare tells which fields the schema has: one that is optional and absent is
// null, while one that is not in the schema is an error, as try() expects.
func (w *want) declare(t cty.Type) {
	if w.all || !t.IsObjectType() {
		return
	}
	for name, sub := range w.fields {
		if t.HasAttribute(name) {
			w.nulls = append(w.nulls, name)
			sub.declare(t.AttributeType(name))
		}
	}
}

// add notes that a path is read.
func (w *want) add(path []string) {
	if len(path) == 0 {
		w.all = true
	}
	if w.all {
		return
	}
	if w.fields == nil {
		w.fields = map[string]*want{}
	}
	if w.fields[path[0]] == nil {
		w.fields[path[0]] = &want{}
	}
	w.fields[path[0]].add(path[1:])
}

var (
	errNotJSON = errors.New("the event's data is not JSON")
	errNumber  = errors.New("the event's data has a number of over 400 digits, or an exponent of over three")
)

// ReasonableNumber reports whether a number is short enough to be computed
// with: 1e900000000 would be written as a text of 900 MB.
func ReasonableNumber(b []byte) bool {
	if len(b) > 400 {
		return false
	}
	for i, c := range b {
		if c != 'e' && c != 'E' {
			continue
		}
		exponent := b[i+1:]
		if len(exponent) > 0 && (exponent[0] == '+' || exponent[0] == '-') {
			exponent = exponent[1:]
		}
		return len(exponent) <= 3
	}
	return true
}

// reasonableNumbers looks at all numbers of a JSON value.
func reasonableNumbers(b []byte) bool {
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			n, err := skipString(b[i:])
			if err != nil {
				return true // whoever decodes it says so
			}
			i += n
		case c == '-' || c >= '0' && c <= '9':
			n, _ := skipValue(b[i:], 0)
			if !ReasonableNumber(b[i : i+n]) {
				return false
			}
			i += max(n, 1)
		default:
			i++
		}
	}
	return true
}

// decode decodes the fields that are wanted; the rest is skipped, not built.
func (w *want) decode(b []byte) (cty.Value, error) {
	v, rest, err := w.value(b, 0)
	if err != nil {
		return cty.NilVal, err
	}
	if len(skipSpace(rest)) > 0 {
		return cty.NilVal, errNotJSON
	}
	return v, nil
}

// maxJSONDepth bounds the recursion below.
const maxJSONDepth = 500

func (w *want) value(b []byte, depth int) (cty.Value, []byte, error) {
	b = skipSpace(b)
	if len(b) == 0 || depth > maxJSONDepth {
		return cty.NilVal, nil, errNotJSON
	}
	if w.all || b[0] != '{' {
		end, err := skipValue(b, depth)
		if err != nil {
			return cty.NilVal, nil, err
		}
		v, err := scalarOrAll(b[:end])
		return v, b[end:], err
	}
	fields := make(map[string]cty.Value, len(w.fields))
	b = skipSpace(b[1:])
	for first := true; ; first = false {
		if len(b) > 0 && b[0] == '}' {
			for _, name := range w.nulls {
				if _, ok := fields[name]; !ok {
					fields[name] = cty.NullVal(cty.DynamicPseudoType)
				}
			}
			return cty.ObjectVal(fields), b[1:], nil
		}
		if !first {
			if len(b) == 0 || b[0] != ',' {
				return cty.NilVal, nil, errNotJSON
			}
			b = skipSpace(b[1:])
		}
		n, err := skipString(b)
		if err != nil {
			return cty.NilVal, nil, err
		}
		key := b[:n]
		b = skipSpace(b[n:])
		if len(b) == 0 || b[0] != ':' {
			return cty.NilVal, nil, errNotJSON
		}
		b = skipSpace(b[1:])
		if sub := w.field(key); sub != nil {
			v, rest, err := sub.value(b, depth+1)
			if err != nil {
				return cty.NilVal, nil, err
			}
			name, err := unquote(key)
			if err != nil {
				return cty.NilVal, nil, err
			}
			fields[name], b = v, rest
		} else {
			n, err := skipValue(b, depth+1)
			if err != nil {
				return cty.NilVal, nil, err
			}
			b = b[n:]
		}
		b = skipSpace(b)
	}
}

// field looks a quoted key up without allocating for plain ones.
func (w *want) field(quoted []byte) *want {
	in := quoted[1 : len(quoted)-1]
	for _, c := range in {
		if c == '\\' {
			s, err := unquote(quoted)
			if err != nil {
				return nil
			}
			return w.fields[s]
		}
	}
	return w.fields[string(in)]
}

// scalarOrAll decodes one complete value.
func scalarOrAll(b []byte) (cty.Value, error) {
	switch b[0] {
	case '"':
		s, err := unquote(b)
		return cty.StringVal(s), err
	case 't':
		return cty.True, nil
	case 'f':
		return cty.False, nil
	case 'n':
		return cty.NullVal(cty.DynamicPseudoType), nil
	case '{', '[':
		if !reasonableNumbers(b) {
			return cty.NilVal, errNumber
		}
		v, err := FromJSON(b)
		if err != nil {
			return cty.NilVal, errNotJSON
		}
		return v, nil
	}
	var n int64
	neg, digits := b[0] == '-', b
	if neg {
		digits = b[1:]
	}
	if len(digits) > 0 && len(digits) < 16 {
		for i, c := range digits {
			if c < '0' || c > '9' {
				break
			}
			n = n*10 + int64(c-'0')
			if i == len(digits)-1 {
				if neg {
					n = -n
				}
				return cty.NumberIntVal(n), nil
			}
		}
	}
	if !ReasonableNumber(b) {
		return cty.NilVal, errNumber
	}
	v, err := cty.ParseNumberVal(string(b))
	if err != nil {
		return cty.NilVal, errNotJSON
	}
	return v, nil
}

func unquote(b []byte) (string, error) {
	for _, c := range b {
		if c == '\\' || c >= 0x80 {
			var s string
			if err := json.Unmarshal(b, &s); err != nil {
				return "", errNotJSON
			}
			return s, nil
		}
	}
	return string(b[1 : len(b)-1]), nil
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\t' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

const ones = 0x0101010101010101

// skipString returns the length of the string that b begins with.
func skipString(b []byte) (int, error) {
	if len(b) == 0 || b[0] != '"' {
		return 0, errNotJSON
	}
	for i := 1; i < len(b); i++ {
		// Eight bytes at a time while none of them is special. The formula gives
		// the first of them; those after it may be wrong.
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			quote, escape := w^'"'*ones, w^'\\'*ones
			special := ((quote-ones)&^quote | (escape-ones)&^escape | (w-' '*ones)&^w) & (ones << 7)
			i += bits.TrailingZeros64(special) / 8
			if special != 0 {
				break
			}
		}
		if i >= len(b) {
			break
		}
		switch {
		case b[i] == '\\':
			i++
		case b[i] == '"':
			return i + 1, nil
		case b[i] < ' ':
			return 0, errNotJSON
		}
	}
	return 0, errNotJSON
}

// skipValue returns the length of the value that b begins with.
func skipValue(b []byte, depth int) (int, error) {
	if len(b) == 0 || depth > maxJSONDepth {
		return 0, errNotJSON
	}
	switch b[0] {
	case '"':
		return skipString(b)
	case '{', '[':
		return skipNested(b, depth)
	}
	for _, word := range []string{"true", "false", "null"} {
		if len(b) >= len(word) && string(b[:len(word)]) == word {
			return len(word), nil
		}
	}
	n := 0
	for n < len(b) && (b[n] >= '0' && b[n] <= '9' || b[n] == '-' || b[n] == '+' || b[n] == '.' || b[n] == 'e' || b[n] == 'E') {
		n++
	}
	if n == 0 {
		return 0, errNotJSON
	}
	return n, nil
}

// nests are the bytes that skipNested looks at.
var nests = [256]bool{'{': true, '}': true, '[': true, ']': true, '"': true}

// skipNested skips an object or array by its brackets; what is between them is
// checked by whoever decodes it.
func skipNested(b []byte, depth int) (int, error) {
	open := 0
	for i := 0; i < len(b); i++ {
		if !nests[b[i]] {
			continue
		}
		switch b[i] {
		case '{', '[':
			if open++; open+depth > maxJSONDepth {
				return 0, fmt.Errorf("%w, or nests too deep", errNotJSON)
			}
		case '}', ']':
			if open--; open == 0 {
				return i + 1, nil
			}
		case '"':
			n, err := skipString(b[i:])
			if err != nil {
				return 0, err
			}
			i += n - 1
		}
	}
	return 0, errNotJSON
}

// formatTime writes Unix nanoseconds as RFC 3339, 0 as nothing.
func formatTime(ns int64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
}

// FromJSON reads JSON as a value.
func FromJSON(b []byte) (cty.Value, error) {
	var v ctyjson.SimpleJSONValue
	if err := v.UnmarshalJSON(b); err != nil {
		return cty.NilVal, err
	}
	return v.Value, nil
}

// Package scan finds the ends of JSON values in a text without building them.
// It checks as much as it must to find them; what is between the brackets of an
// object or an array is checked by whoever decodes it.
package scan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// MaxDepth bounds how deep values nest, and so what recurses through them.
const MaxDepth = 500

// Errors of a text that cannot be read.
var (
	ErrNotJSON = errors.New("the event's data is not JSON")
	ErrNumber  = errors.New("the event's data has a number of over 400 digits, or an exponent of over three")
)

// Space returns b without the white space that it begins with.
func Space(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\t' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

const ones = 0x0101010101010101

// String returns the length of the string that b begins with.
func String(b []byte) (int, error) {
	if len(b) == 0 || b[0] != '"' {
		return 0, ErrNotJSON
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
			return 0, ErrNotJSON
		}
	}
	return 0, ErrNotJSON
}

// Value returns the length of the value that b begins with.
func Value(b []byte, depth int) (int, error) {
	if len(b) == 0 || depth > MaxDepth {
		return 0, ErrNotJSON
	}
	switch b[0] {
	case '"':
		return String(b)
	case '{', '[':
		return nested(b, depth)
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
		return 0, ErrNotJSON
	}
	return n, nil
}

// nests are the bytes that nested looks at.
var nests = [256]bool{'{': true, '}': true, '[': true, ']': true, '"': true}

// nested skips an object or array by its brackets; what is between them is
// checked by whoever decodes it.
func nested(b []byte, depth int) (int, error) {
	open := 0
	for i := 0; i < len(b); i++ {
		if !nests[b[i]] {
			continue
		}
		switch b[i] {
		case '{', '[':
			if open++; open+depth > MaxDepth {
				return 0, fmt.Errorf("%w, or nests too deep", ErrNotJSON)
			}
		case '}', ']':
			if open--; open == 0 {
				return i + 1, nil
			}
		case '"':
			n, err := String(b[i:])
			if err != nil {
				return 0, err
			}
			i += n - 1
		}
	}
	return 0, ErrNotJSON
}

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

// ReasonableNumbers looks at all numbers of a JSON value.
func ReasonableNumbers(b []byte) bool {
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			n, err := String(b[i:])
			if err != nil {
				return true // whoever decodes it says so
			}
			i += n
		case c == '-' || c >= '0' && c <= '9':
			n, _ := Value(b[i:], 0)
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

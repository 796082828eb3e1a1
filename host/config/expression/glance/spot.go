package glance

import "github.com/pluginhost/host/host/config/expression/scan"

// The text of a JSON value, as far as a glance understands it.

// spot is a field of the data that is read, or one on the way to it.
type spot struct {
	name   string
	number int // of the spot
	leaf   int // its place in a sight, or -1
	subs   []*spot
}

func (p *spot) sub(name string) *spot {
	for _, s := range p.subs {
		if s.name == name {
			return s
		}
	}
	return nil
}

// read goes through a value as field.Tree does, and notes the text of the
// leaves. It is not ok where field.Tree would fail, and where it would have to
// think: an escape in a key, a field that comes twice.
func (p *spot) read(b []byte, depth int, s *sight) (rest []byte, ok bool) {
	b = scan.Space(b)
	if len(b) == 0 || depth > scan.MaxDepth {
		return nil, false
	}
	if p.leaf >= 0 || b[0] != '{' {
		end, err := scan.Value(b, depth)
		if err != nil {
			return nil, false
		}
		if p.leaf >= 0 {
			s.text[p.leaf] = b[:end]
		}
		return b[end:], true
	}
	b = scan.Space(b[1:])
	for first := true; ; first = false {
		if len(b) > 0 && b[0] == '}' {
			return b[1:], true
		}
		if !first {
			if len(b) == 0 || b[0] != ',' {
				return nil, false
			}
			b = scan.Space(b[1:])
		}
		n, err := scan.String(b)
		if err != nil {
			return nil, false
		}
		key := b[1 : n-1]
		b = scan.Space(b[n:])
		if len(b) == 0 || b[0] != ':' {
			return nil, false
		}
		b = scan.Space(b[1:])
		sub, clear := p.find(key)
		switch {
		case !clear:
			return nil, false
		case sub == nil:
			n, err := scan.Value(b, depth+1)
			if err != nil {
				return nil, false
			}
			b = b[n:]
		default:
			if s.spots[sub.number] {
				return nil, false
			}
			s.spots[sub.number] = true
			if b, ok = sub.read(b, depth+1, s); !ok {
				return nil, false
			}
		}
		b = scan.Space(b)
	}
}

// find looks a key up. It is not clear when the key has an escape.
func (p *spot) find(key []byte) (sub *spot, clear bool) {
	for _, s := range p.subs {
		if s.name == string(key) {
			return s, true
		}
	}
	for _, c := range key {
		if c == '\\' {
			return nil, false
		}
	}
	return nil, true
}

// plain is what is in a string without escapes and beyond ASCII.
func plain(text []byte) ([]byte, bool) {
	if len(text) < 2 || text[0] != '"' {
		return nil, false
	}
	return ascii(text[1 : len(text)-1])
}

// ascii returns a text that has something in it only if that is plain.
func ascii(b []byte) ([]byte, bool) {
	for _, c := range b {
		if c == '\\' || c >= 0x80 {
			return nil, false
		}
	}
	return b, true
}

func truth(text []byte) Verdict {
	switch string(text) {
	case "true":
		return Yes
	case "false":
		return No
	}
	return Unsure
}

// decimal is mantissa / 10^scale.
type decimal struct {
	mantissa int64
	scale    int
}

// maxDigits is how many digits fit into a mantissa.
const maxDigits = 18

// parseDecimal reads a number without an exponent.
func parseDecimal(b []byte) (d decimal, ok bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	point := -1
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9':
			d.mantissa = d.mantissa*10 + int64(c-'0')
		case c == '.' && point < 0 && i > 0 && i < len(b)-1:
			point = i
		default:
			return d, false
		}
		if i >= maxDigits {
			return d, false
		}
	}
	if len(b) == 0 {
		return d, false
	}
	if point >= 0 {
		d.scale = len(b) - 1 - point
	}
	if negative {
		d.mantissa = -d.mantissa
	}
	return d, true
}

// compare returns the sign of d - e, and false when that takes more digits.
func (d decimal) compare(e decimal) (sign int, ok bool) {
	for ; d.scale < e.scale; d.scale++ {
		if d.mantissa, ok = tenfold(d.mantissa); !ok {
			return 0, false
		}
	}
	for ; e.scale < d.scale; e.scale++ {
		if e.mantissa, ok = tenfold(e.mantissa); !ok {
			return 0, false
		}
	}
	switch {
	case d.mantissa < e.mantissa:
		return -1, true
	case d.mantissa > e.mantissa:
		return 1, true
	}
	return 0, true
}

func tenfold(n int64) (int64, bool) {
	const limit = 1<<63/10 - 1
	return n * 10, n < limit && n > -limit
}

// Package field writes and reads the fields of a message in the form of protobuf,
// without allocating for what passes. Which fields there are it does not know. A
// tag is field number << 3 | wire type.
package field

import (
	"encoding/binary"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pluginhost/host/sdk/wire/id"
)

// Next takes one field off b: its tag, and its value as a number or as bytes.
// ok is false when b is malformed. Tags, numbers and sizes of few bytes are
// nearly all there are, so they come first.
func Next(b []byte) (tag, num uint64, val, rest []byte, ok bool) {
	if len(b) < 2 || b[0] >= 0x80 || b[0] < 1<<3 {
		return anyNext(b)
	}
	switch protowire.Type(b[0] & 7) {
	case protowire.BytesType:
		n, end := 2, 2+int(b[1])
		if b[1] >= 0x80 {
			if len(b) < 3 || b[2] >= 0x80 {
				return anyNext(b)
			}
			n, end = 3, 3+int(b[1]&0x7f)+int(b[2])<<7
		}
		if end > len(b) {
			return 0, 0, nil, nil, false
		}
		return uint64(b[0]), 0, b[n:end:end], b[end:], true
	case protowire.VarintType:
		if b[1] < 0x80 {
			return uint64(b[0]), uint64(b[1]), nil, b[2:], true
		}
		v, n := binary.Uvarint(b[1:])
		if n <= 0 {
			return 0, 0, nil, nil, false
		}
		return uint64(b[0]), v, nil, b[1+n:], true
	case protowire.Fixed64Type:
		if len(b) < 9 {
			return 0, 0, nil, nil, false
		}
		return uint64(b[0]), binary.LittleEndian.Uint64(b[1:]), nil, b[9:], true
	}
	return anyNext(b)
}

// anyNext is Next for every form.
func anyNext(b []byte) (tag, num uint64, val, rest []byte, ok bool) {
	tag, n := protowire.ConsumeVarint(b)
	if n < 0 {
		return 0, 0, nil, nil, false
	}
	b = b[n:]
	field := tag >> 3
	if field == 0 || field > uint64(protowire.MaxValidNumber) {
		return 0, 0, nil, nil, false
	}
	switch protowire.Type(tag & 7) {
	case protowire.BytesType:
		size, n := protowire.ConsumeVarint(b)
		if n < 0 || size > uint64(len(b)-n) {
			return 0, 0, nil, nil, false
		}
		end := n + int(size)
		return tag, 0, b[n:end:end], b[end:], true
	case protowire.VarintType:
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return 0, 0, nil, nil, false
		}
		return tag, v, nil, b[n:], true
	case protowire.Fixed64Type:
		if len(b) < 8 {
			return 0, 0, nil, nil, false
		}
		return tag, binary.LittleEndian.Uint64(b), nil, b[8:], true
	default: // of no field of ours
		n := protowire.ConsumeFieldValue(protowire.Number(field), protowire.Type(tag&7), b)
		if n < 0 {
			return 0, 0, nil, nil, false
		}
		return tag, 0, nil, b[n:], true
	}
}

// SetID reads an id, or none. It reports false when it is neither.
func SetID(v *id.ID, b []byte) bool {
	if len(b) == 0 {
		*v = id.ID{}
		return true
	}
	return copy(v[:], b) == len(v) && len(b) == len(v)
}

// Text reads a string. It reports false when that is not UTF-8.
func Text(b []byte) (string, bool) {
	if !utf8.Valid(b) {
		return "", false
	}
	return string(b), true
}

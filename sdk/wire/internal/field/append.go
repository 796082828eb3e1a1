package field

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pluginhost/host/sdk/wire/id"
)

// SizeBytes is the size of a bytes or string field of n bytes. As all sizes it
// counts the tag, of one byte, and is 0 for a zero value, which is not written.
func SizeBytes(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(n)
}

// SizeUint is the size of a number.
func SizeUint(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

// SizeFixed is the size of a number of eight bytes.
func SizeFixed(v int64) int {
	if v == 0 {
		return 0
	}
	return 1 + 8
}

// SizeID is the size of an id.
func SizeID(v *id.ID) int {
	if *v == (id.ID{}) {
		return 0
	}
	return 1 + 1 + len(v)
}

// AppendVarint appends a number without a tag.
func AppendVarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<7:
		return append(b, byte(v))
	case v < 1<<14:
		return append(b, byte(v)|0x80, byte(v>>7))
	}
	return protowire.AppendVarint(b, v)
}

// AppendText appends a string field.
func AppendText(b []byte, tag byte, v string) []byte {
	if v == "" {
		return b
	}
	return append(AppendVarint(append(b, tag), uint64(len(v))), v...)
}

// AppendBytes appends a bytes field.
func AppendBytes[T ~string | ~[]byte](b []byte, tag byte, v T) []byte {
	if len(v) == 0 {
		return b
	}
	b = append(b, tag)
	b = AppendVarint(b, uint64(len(v)))
	return append(b, v...)
}

// AppendUint appends a number.
func AppendUint(b []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return AppendVarint(append(b, tag), v)
}

// AppendFixed appends a number of eight bytes.
func AppendFixed(b []byte, tag byte, v int64) []byte {
	if v == 0 {
		return b
	}
	return binary.LittleEndian.AppendUint64(append(b, tag), uint64(v))
}

// AppendID appends an id.
func AppendID(b []byte, tag byte, v *id.ID) []byte {
	if *v == (id.ID{}) {
		return b
	}
	return append(append(b, tag, byte(len(v))), v[:]...)
}

// AppendHeader appends what stands before a message of size bytes.
func AppendHeader(b []byte, tag byte, size int) []byte {
	return AppendVarint(append(b, tag), uint64(size))
}

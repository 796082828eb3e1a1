// Package frame is the form of a lane's stream: each frame is a length and a
// body of that length. It gathers what waits to be written into frames, writes
// them, and cuts what is read into frames again. What stands in a body it does
// not know.
package frame

import "google.golang.org/protobuf/encoding/protowire"

const (
	headerRoom = 4         // bytes of the length of a frame below 256 MiB
	full       = 64 << 10  // bytes at which a frame takes no further element
	kept       = 128 << 10 // bytes of capacity up to which a frame is used again
	firstRoom  = 4 << 10   // bytes of capacity of a new frame
)

// Frame is a frame being filled.
type Frame struct {
	Bytes   []byte // room for the length, then the body, to which to append
	rest    []byte // of a frame that was written in part, what is left
	counted int    // bytes counted in the queue
}

// Sealed writes the length before the body and returns both, or what is left
// of them.
func (f *Frame) Sealed() []byte {
	if f.rest != nil {
		return f.rest
	}
	body := uint64(len(f.Bytes) - headerRoom)
	start := headerRoom - protowire.SizeVarint(body)
	protowire.AppendVarint(f.Bytes[start:start], body)
	return f.Bytes[start:]
}

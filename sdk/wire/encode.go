package wire

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// The lane's encoding is written by hand: generated code would allocate for
// each element and copy what passes through. Every function here appends what
// the generated code would. Tags are field number << 3 | wire type.

// sizeBytes is the size of a bytes or string field of n bytes.
func sizeBytes(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(n)
}

func sizeUint(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

func sizeFixed(v int64) int {
	if v == 0 {
		return 0
	}
	return 1 + 8
}

func sizeID(id *ID) int {
	if *id == (ID{}) {
		return 0
	}
	return 1 + 1 + len(id)
}

func appendVarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<7:
		return append(b, byte(v))
	case v < 1<<14:
		return append(b, byte(v)|0x80, byte(v>>7))
	}
	return protowire.AppendVarint(b, v)
}

func appendText(b []byte, tag byte, v string) []byte {
	if v == "" {
		return b
	}
	return append(appendVarint(append(b, tag), uint64(len(v))), v...)
}

func appendBytes[T ~string | ~[]byte](b []byte, tag byte, v T) []byte {
	if len(v) == 0 {
		return b
	}
	b = append(b, tag)
	b = appendVarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendUint(b []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return appendVarint(append(b, tag), v)
}

func appendFixed(b []byte, tag byte, v int64) []byte {
	if v == 0 {
		return b
	}
	return binary.LittleEndian.AppendUint64(append(b, tag), uint64(v))
}

func appendID(b []byte, tag byte, id *ID) []byte {
	if *id == (ID{}) {
		return b
	}
	return append(append(b, tag, byte(len(id))), id[:]...)
}

// size returns the encoded size, or ErrTooLarge.
func (e *Event) size() (int, error) {
	header := sizeBytes(len(e.Type)) + sizeBytes(len(e.Source)) + sizeBytes(len(e.Subject)) +
		sizeBytes(len(e.Traceparent)) + sizeBytes(len(e.Tracestate)) + sizeBytes(len(e.ContentType))
	if header > MaxHeader || len(e.Data) > MaxEvent {
		return 0, ErrTooLarge
	}
	return header + sizeID(&e.ID) + sizeID(&e.Correlation) + sizeID(&e.Causation) +
		sizeFixed(e.Time) + sizeFixed(e.Deadline) + sizeBytes(len(e.Data)), nil
}

func (e *Event) append(b []byte) []byte {
	b = appendID(b, 1<<3|2, &e.ID)
	b = appendText(b, 2<<3|2, e.Type)
	b = appendText(b, 3<<3|2, e.Source)
	b = appendText(b, 4<<3|2, e.Subject)
	b = appendFixed(b, 5<<3|1, e.Time)
	b = appendID(b, 6<<3|2, &e.Correlation)
	b = appendID(b, 7<<3|2, &e.Causation)
	b = appendFixed(b, 8<<3|1, e.Deadline)
	b = appendText(b, 9<<3|2, e.Traceparent)
	b = appendText(b, 10<<3|2, e.Tracestate)
	b = appendText(b, 11<<3|2, e.ContentType)
	return appendBytes(b, 12<<3|2, e.Data)
}

func appendHeader(b []byte, tag byte, size int) []byte {
	return appendVarint(append(b, tag), uint64(size))
}

func sizeEmit(e *Emit, event int) int {
	return sizeUint(e.Promise) + sizeUint(uint64(e.Instance)) + sizeUint(uint64(e.Type)) + 1 + protowire.SizeBytes(event)
}

func appendEmit(b []byte, e *Emit, size, event int) []byte {
	b = appendHeader(b, 1<<3|2, size)
	b = appendUint(b, 1<<3, e.Promise)
	b = appendUint(b, 2<<3, uint64(e.Instance))
	b = appendUint(b, 3<<3, uint64(e.Type))
	b = appendHeader(b, 4<<3|2, event)
	return e.Event.append(b)
}

func appendAccept(b []byte, promise uint64) []byte {
	n := protowire.SizeVarint(promise)
	b = append(b, 2<<3|2, byte(2+n), 1<<3|2, byte(n))
	return appendVarint(b, promise)
}

func sizeDeliver(d *Deliver, event int) int {
	n := sizeUint(d.Delivery) + sizeUint(uint64(d.Attempt)) + sizeUint(uint64(d.Instance)) +
		sizeUint(uint64(d.Action)) + sizeFixed(d.Deadline) + 1 + protowire.SizeBytes(event) + sizeBytes(len(d.Input))
	if d.HasInput {
		n += 2
	}
	return n
}

func appendDeliver(b []byte, d *Deliver, size, event int) []byte {
	b = appendHeader(b, 3<<3|2, size)
	b = appendUint(b, 1<<3, d.Delivery)
	b = appendUint(b, 2<<3, uint64(d.Attempt))
	b = appendUint(b, 3<<3, uint64(d.Instance))
	b = appendUint(b, 4<<3, uint64(d.Action))
	b = appendFixed(b, 5<<3|1, d.Deadline)
	b = appendHeader(b, 6<<3|2, event)
	b = d.Event.append(b)
	b = appendBytes(b, 7<<3|2, d.Input)
	if d.HasInput {
		b = append(b, 8<<3, 1)
	}
	return b
}

// size returns the encoded size, or ErrTooLarge.
func (e *Error) size() (int, error) {
	header := sizeBytes(len(e.Reason)) + sizeBytes(len(e.Message)) + sizeBytes(len(e.Instance)) + sizeBytes(len(e.Version))
	if header > MaxHeader || len(e.Details) > MaxEvent {
		return 0, ErrTooLarge
	}
	n := header + sizeUint(uint64(e.Code)) + sizeBytes(len(e.Details))
	if e.Retryable {
		n += 2
	}
	return n, nil
}

func (e *Error) append(b []byte) []byte {
	b = appendUint(b, 1<<3, uint64(e.Code))
	b = appendBytes(b, 2<<3|2, e.Reason)
	b = appendBytes(b, 3<<3|2, e.Message)
	if e.Retryable {
		b = append(b, 4<<3, 1)
	}
	b = appendBytes(b, 5<<3|2, e.Details)
	b = appendBytes(b, 6<<3|2, e.Instance)
	return appendBytes(b, 7<<3|2, e.Version)
}

func sizeSettle(s *Settle, rejected int) int {
	n := sizeUint(s.Ref) + sizeUint(uint64(s.Attempt)) + sizeBytes(len(s.Value)) + sizeBytes(len(s.Token)) + sizeUint(uint64(s.Instance))
	if s.Err != nil {
		n += 1 + protowire.SizeBytes(rejected)
	}
	return n
}

func appendSettle(b []byte, s *Settle, size, rejected int) []byte {
	b = appendHeader(b, 4<<3|2, size)
	b = appendUint(b, 1<<3, s.Ref)
	b = appendUint(b, 2<<3, uint64(s.Attempt))
	b = appendBytes(b, 3<<3|2, s.Value)
	if s.Err != nil {
		b = appendHeader(b, 4<<3|2, rejected)
		b = s.Err.append(b)
	}
	b = appendBytes(b, 5<<3|2, s.Token)
	return appendUint(b, 6<<3, uint64(s.Instance))
}

// appendNumbers appends an element of the frame's field that has up to three
// numbers.
func appendNumbers(b []byte, field byte, x, y, z uint64) []byte {
	b = appendHeader(b, field<<3|2, sizeUint(x)+sizeUint(y)+sizeUint(z))
	b = appendUint(b, 1<<3, x)
	b = appendUint(b, 2<<3, y)
	return appendUint(b, 3<<3, z)
}

// A string that is not UTF-8 would make the peer refuse the whole lane. A
// program's output gets into a message easily, so strings are mended here.

func (e *Event) clean() bool {
	return valid(e.Type) && valid(e.Source) && valid(e.Subject) &&
		valid(e.Traceparent) && valid(e.Tracestate) && valid(e.ContentType)
}

func valid(s string) bool { return s == "" || utf8.ValidString(s) }

func (e *Event) scrub() {
	for _, s := range []*string{&e.Type, &e.Source, &e.Subject, &e.Traceparent, &e.Tracestate, &e.ContentType} {
		*s = strings.ToValidUTF8(*s, "\uFFFD")
	}
}

func (e *Error) clean() bool {
	return utf8.ValidString(e.Reason) && utf8.ValidString(e.Message) &&
		utf8.ValidString(e.Instance) && utf8.ValidString(e.Version)
}

func (e *Error) scrubbed() *Error {
	c := *e
	for _, s := range []*string{&c.Reason, &c.Message, &c.Instance, &c.Version} {
		*s = strings.ToValidUTF8(*s, "\uFFFD")
	}
	return &c
}

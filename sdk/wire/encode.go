package wire

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pluginhost/host/sdk/wire/internal/field"
)

// The lane's encoding is written by hand: generated code would allocate for
// each element and copy what passes through. Every function here appends what
// the generated code would. Tags are field number << 3 | wire type.

// size returns the encoded size, or ErrTooLarge.
func (e *Event) size() (int, error) {
	header := field.SizeBytes(len(e.Type)) + field.SizeBytes(len(e.Source)) + field.SizeBytes(len(e.Subject)) +
		field.SizeBytes(len(e.Traceparent)) + field.SizeBytes(len(e.Tracestate)) + field.SizeBytes(len(e.ContentType))
	if header > MaxHeader || len(e.Data) > MaxEvent {
		return 0, ErrTooLarge
	}
	return header + field.SizeID(&e.ID) + field.SizeID(&e.Correlation) + field.SizeID(&e.Causation) +
		field.SizeFixed(e.Time) + field.SizeFixed(e.Deadline) + field.SizeBytes(len(e.Data)), nil
}

func (e *Event) append(b []byte) []byte {
	b = field.AppendID(b, 1<<3|2, &e.ID)
	b = field.AppendText(b, 2<<3|2, e.Type)
	b = field.AppendText(b, 3<<3|2, e.Source)
	b = field.AppendText(b, 4<<3|2, e.Subject)
	b = field.AppendFixed(b, 5<<3|1, e.Time)
	b = field.AppendID(b, 6<<3|2, &e.Correlation)
	b = field.AppendID(b, 7<<3|2, &e.Causation)
	b = field.AppendFixed(b, 8<<3|1, e.Deadline)
	b = field.AppendText(b, 9<<3|2, e.Traceparent)
	b = field.AppendText(b, 10<<3|2, e.Tracestate)
	b = field.AppendText(b, 11<<3|2, e.ContentType)
	return field.AppendBytes(b, 12<<3|2, e.Data)
}

func sizeEmit(e *Emit, event int) int {
	return field.SizeUint(e.Promise) + field.SizeUint(uint64(e.Instance)) + field.SizeUint(uint64(e.Type)) + 1 + protowire.SizeBytes(event)
}

func appendEmit(b []byte, e *Emit, size, event int) []byte {
	b = field.AppendHeader(b, 1<<3|2, size)
	b = field.AppendUint(b, 1<<3, e.Promise)
	b = field.AppendUint(b, 2<<3, uint64(e.Instance))
	b = field.AppendUint(b, 3<<3, uint64(e.Type))
	b = field.AppendHeader(b, 4<<3|2, event)
	return e.Event.append(b)
}

func appendAccept(b []byte, promise uint64) []byte {
	n := protowire.SizeVarint(promise)
	b = append(b, 2<<3|2, byte(2+n), 1<<3|2, byte(n))
	return field.AppendVarint(b, promise)
}

func sizeDeliver(d *Deliver, event int) int {
	n := field.SizeUint(d.Delivery) + field.SizeUint(uint64(d.Attempt)) + field.SizeUint(uint64(d.Instance)) +
		field.SizeUint(uint64(d.Action)) + field.SizeFixed(d.Deadline) + 1 + protowire.SizeBytes(event) + field.SizeBytes(len(d.Input))
	if d.HasInput {
		n += 2
	}
	return n
}

func appendDeliver(b []byte, d *Deliver, size, event int) []byte {
	b = field.AppendHeader(b, 3<<3|2, size)
	b = field.AppendUint(b, 1<<3, d.Delivery)
	b = field.AppendUint(b, 2<<3, uint64(d.Attempt))
	b = field.AppendUint(b, 3<<3, uint64(d.Instance))
	b = field.AppendUint(b, 4<<3, uint64(d.Action))
	b = field.AppendFixed(b, 5<<3|1, d.Deadline)
	b = field.AppendHeader(b, 6<<3|2, event)
	b = d.Event.append(b)
	b = field.AppendBytes(b, 7<<3|2, d.Input)
	if d.HasInput {
		b = append(b, 8<<3, 1)
	}
	return b
}

// size returns the encoded size, or ErrTooLarge.
func (e *Error) size() (int, error) {
	header := field.SizeBytes(len(e.Reason)) + field.SizeBytes(len(e.Message)) + field.SizeBytes(len(e.Instance)) + field.SizeBytes(len(e.Version))
	if header > MaxHeader || len(e.Details) > MaxEvent {
		return 0, ErrTooLarge
	}
	n := header + field.SizeUint(uint64(e.Code)) + field.SizeBytes(len(e.Details))
	if e.Retryable {
		n += 2
	}
	return n, nil
}

func (e *Error) append(b []byte) []byte {
	b = field.AppendUint(b, 1<<3, uint64(e.Code))
	b = field.AppendBytes(b, 2<<3|2, e.Reason)
	b = field.AppendBytes(b, 3<<3|2, e.Message)
	if e.Retryable {
		b = append(b, 4<<3, 1)
	}
	b = field.AppendBytes(b, 5<<3|2, e.Details)
	b = field.AppendBytes(b, 6<<3|2, e.Instance)
	return field.AppendBytes(b, 7<<3|2, e.Version)
}

func sizeSettle(s *Settle, rejected int) int {
	n := field.SizeUint(s.Ref) + field.SizeUint(uint64(s.Attempt)) + field.SizeBytes(len(s.Value)) + field.SizeBytes(len(s.Token)) + field.SizeUint(uint64(s.Instance))
	if s.Err != nil {
		n += 1 + protowire.SizeBytes(rejected)
	}
	return n
}

func appendSettle(b []byte, s *Settle, size, rejected int) []byte {
	b = field.AppendHeader(b, 4<<3|2, size)
	b = field.AppendUint(b, 1<<3, s.Ref)
	b = field.AppendUint(b, 2<<3, uint64(s.Attempt))
	b = field.AppendBytes(b, 3<<3|2, s.Value)
	if s.Err != nil {
		b = field.AppendHeader(b, 4<<3|2, rejected)
		b = s.Err.append(b)
	}
	b = field.AppendBytes(b, 5<<3|2, s.Token)
	return field.AppendUint(b, 6<<3, uint64(s.Instance))
}

// appendNumbers appends an element of the frame's field that has up to three
// numbers.
func appendNumbers(b []byte, element byte, x, y, z uint64) []byte {
	b = field.AppendHeader(b, element<<3|2, field.SizeUint(x)+field.SizeUint(y)+field.SizeUint(z))
	b = field.AppendUint(b, 1<<3, x)
	b = field.AppendUint(b, 2<<3, y)
	return field.AppendUint(b, 3<<3, z)
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

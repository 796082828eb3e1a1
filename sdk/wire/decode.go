package wire

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// decoder hands the elements of frames to a handler. The elements are its own
// and are used again: reading allocates for strings that it has not met, and
// for errors.
type decoder struct {
	handler *Handler
	emit    Emit
	deliver Deliver
	settle  Settle
	names   map[string]string // strings that come again and again
	last    [16]string        // of them, those that came last, by field
}

// maxNames bounds the strings that a decoder remembers, and maxName each.
const (
	maxNames = 512
	maxName  = 128
)

// next takes one field off b: its tag, and its value as a number or as bytes.
// A tag is field number << 3 | wire type. ok is false when b is malformed. Tags,
// numbers and sizes of few bytes are nearly all there are, so they come first.
func next(b []byte) (tag, num uint64, val, rest []byte, ok bool) {
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

// anyNext is next for every form.
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

func malformed(what string) error { return protocolErrorf("%s is not valid protobuf", what) }

// frame hands the elements of a frame to the handler, in their order. Fields
// that this version does not know are skipped, here and below.
func (d *decoder) frame(b []byte) error {
	for len(b) > 0 {
		tag, _, val, rest, ok := next(b)
		if !ok {
			return malformed("a frame")
		}
		b = rest
		var err error
		switch tag {
		case 1<<3 | 2:
			err = d.onEmit(val)
		case 2<<3 | 2:
			err = d.onAccept(val)
		case 3<<3 | 2:
			err = d.onDeliver(val)
		case 4<<3 | 2:
			err = d.onSettle(val)
		case 5<<3 | 2:
			err = d.onCredit(val)
		case 6<<3 | 2:
			err = d.onCancel(val)
		case 7<<3 | 2:
			err = d.onDetach(val)
		case 8<<3 | 2:
			err = d.onWithdraw(val)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func notAllowed(kind string) error { return protocolErrorf("this end may not send %s", kind) }

func (d *decoder) onEmit(b []byte) error {
	if d.handler.Emit == nil {
		return notAllowed("an emit")
	}
	e := &d.emit
	*e = Emit{}
	for len(b) > 0 {
		tag, num, val, rest, ok := next(b)
		if !ok {
			return malformed("an emit")
		}
		b = rest
		switch tag {
		case 1 << 3:
			e.Promise = num
		case 2 << 3:
			e.Instance = uint32(num)
		case 3 << 3:
			e.Type = uint32(num)
		case 4<<3 | 2:
			if err := d.event(&e.Event, val); err != nil {
				return err
			}
		}
	}
	if e.Promise == 0 {
		return protocolErrorf("an emit whose promise is 0")
	}
	return d.handler.Emit(e)
}

func (d *decoder) onAccept(b []byte) error {
	if d.handler.Accept == nil {
		return notAllowed("an accept")
	}
	for len(b) > 0 {
		tag, num, val, rest, ok := next(b)
		if !ok {
			return malformed("an accept")
		}
		b = rest
		switch tag {
		case 1 << 3: // one by one
			if err := d.handler.Accept(num); err != nil {
				return err
			}
		case 1<<3 | 2: // packed
			for len(val) > 0 {
				promise, n := protowire.ConsumeVarint(val)
				if n < 0 {
					return malformed("an accept")
				}
				val = val[n:]
				if err := d.handler.Accept(promise); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (d *decoder) onDeliver(b []byte) error {
	if d.handler.Deliver == nil {
		return notAllowed("a deliver")
	}
	x := &d.deliver
	*x = Deliver{}
	for len(b) > 0 {
		tag, num, val, rest, ok := next(b)
		if !ok {
			return malformed("a deliver")
		}
		b = rest
		switch tag {
		case 1 << 3:
			x.Delivery = num
		case 2 << 3:
			x.Attempt = uint32(num)
		case 3 << 3:
			x.Instance = uint32(num)
		case 4 << 3:
			x.Action = uint32(num)
		case 5<<3 | 1:
			x.Deadline = int64(num)
		case 6<<3 | 2:
			if err := d.event(&x.Event, val); err != nil {
				return err
			}
		case 7<<3 | 2:
			x.Input = val
		case 8 << 3:
			x.HasInput = num != 0
		}
	}
	if len(x.Input) > MaxEvent {
		return protocolErrorf("an input of %d bytes; the largest allowed has %d", len(x.Input), MaxEvent)
	}
	return d.handler.Deliver(x)
}

func (d *decoder) onSettle(b []byte) error {
	if d.handler.Settle == nil {
		return notAllowed("a settle")
	}
	s := &d.settle
	*s = Settle{}
	for len(b) > 0 {
		tag, num, val, rest, ok := next(b)
		if !ok {
			return malformed("a settle")
		}
		b = rest
		switch tag {
		case 1 << 3:
			s.Ref = num
		case 2 << 3:
			s.Attempt = uint32(num)
		case 3<<3 | 2:
			s.Value = val
		case 4<<3 | 2:
			if s.Err == nil {
				s.Err = &Error{}
			}
			if err := d.rejection(s.Err, val); err != nil {
				return err
			}
		case 5<<3 | 2:
			if s.Token, ok = text(val); !ok || len(val) > MaxToken {
				return protocolErrorf("a token that is none")
			}
		case 6 << 3:
			s.Instance = uint32(num)
		}
	}
	if len(s.Value) > MaxEvent {
		return protocolErrorf("a value of %d bytes; the largest allowed has %d", len(s.Value), MaxEvent)
	}
	return d.handler.Settle(s)
}

func (d *decoder) onCredit(b []byte) error {
	if d.handler.Credit == nil {
		return notAllowed("a credit")
	}
	n, ok := numbers(b)
	if !ok {
		return malformed("a credit")
	}
	return d.handler.Credit(uint32(n[0]), uint32(n[1]))
}

func (d *decoder) onCancel(b []byte) error {
	if d.handler.Cancel == nil {
		return notAllowed("a cancel")
	}
	n, ok := numbers(b)
	if !ok {
		return malformed("a cancel")
	}
	return d.handler.Cancel(n[0], uint32(n[1]), Cause(uint32(n[2])))
}

func (d *decoder) onDetach(b []byte) error {
	if d.handler.Detach == nil {
		return notAllowed("a detach")
	}
	n, ok := numbers(b)
	if !ok || n[0] == 0 {
		return malformed("a detach")
	}
	return d.handler.Detach(n[0], n[1], uint32(n[2]))
}

func (d *decoder) onWithdraw(b []byte) error {
	if d.handler.Withdraw == nil {
		return notAllowed("a withdraw")
	}
	n, ok := numbers(b)
	if !ok {
		return malformed("a withdraw")
	}
	return d.handler.Withdraw(n[0], uint32(n[1]))
}

// numbers reads a message of up to three numbers.
func numbers(b []byte) (n [3]uint64, ok bool) {
	for len(b) > 0 {
		tag, num, _, rest, ok := next(b)
		if !ok {
			return n, false
		}
		b = rest
		switch tag {
		case 1 << 3, 2 << 3, 3 << 3:
			n[tag>>3-1] = num
		}
	}
	return n, true
}

func (d *decoder) event(e *Event, b []byte) error {
	header := 0
	for len(b) > 0 {
		tag, num, val, rest, ok := next(b)
		if !ok {
			return malformed("an event")
		}
		b = rest
		switch tag {
		case 1<<3 | 2:
			ok = setID(&e.ID, val)
		case 2<<3 | 2:
			e.Type, ok = d.name(tag, val)
		case 3<<3 | 2:
			e.Source, ok = d.name(tag, val)
		case 4<<3 | 2:
			e.Subject, ok = text(val)
		case 5<<3 | 1:
			e.Time = int64(num)
		case 6<<3 | 2:
			ok = setID(&e.Correlation, val)
		case 7<<3 | 2:
			ok = setID(&e.Causation, val)
		case 8<<3 | 1:
			e.Deadline = int64(num)
		case 9<<3 | 2:
			e.Traceparent, ok = text(val)
		case 10<<3 | 2:
			e.Tracestate, ok = text(val)
		case 11<<3 | 2:
			e.ContentType, ok = d.name(tag, val)
		case 12<<3 | 2:
			e.Data = val
			continue
		}
		if !ok {
			return protocolErrorf("field %d of an event is not what it must be", tag>>3)
		}
		header += len(val)
	}
	if len(e.Data) > MaxEvent || header > MaxHeader+3*len(ID{}) {
		return protocolErrorf("an event of %d bytes of data and %d of everything else; allowed are %d and %d",
			len(e.Data), header, MaxEvent, MaxHeader)
	}
	return nil
}

// rejection reads an error. It is kept by whoever waits for it, so its bytes
// are copied.
func (d *decoder) rejection(e *Error, b []byte) error {
	header := 0
	for len(b) > 0 {
		tag, num, val, rest, ok := next(b)
		if !ok {
			return malformed("an error")
		}
		b = rest
		switch tag {
		case 1 << 3:
			e.Code = Code(uint32(num))
		case 2<<3 | 2:
			e.Reason, ok = d.name(tag, val)
		case 3<<3 | 2:
			e.Message, ok = text(val)
		case 4 << 3:
			e.Retryable = num != 0
		case 5<<3 | 2:
			e.Details = bytes.Clone(val)
			continue
		case 6<<3 | 2:
			e.Instance, ok = d.name(tag, val)
		case 7<<3 | 2:
			e.Version, ok = d.name(tag, val)
		}
		if !ok {
			return protocolErrorf("field %d of an error is not UTF-8", tag>>3)
		}
		header += len(val)
	}
	if len(e.Details) > MaxEvent || header > MaxHeader {
		return protocolErrorf("an error of %d bytes of details and %d of everything else; allowed are %d and %d",
			len(e.Details), header, MaxEvent, MaxHeader)
	}
	return nil
}

// setID reads an id, or none.
func setID(id *ID, b []byte) bool {
	if len(b) == 0 {
		*id = ID{}
		return true
	}
	return copy(id[:], b) == len(id) && len(b) == len(id)
}

func text(b []byte) (string, bool) {
	if !utf8.Valid(b) {
		return "", false
	}
	return string(b), true
}

// name reads a string that probably came before, most often in the same field of
// the element before.
func (d *decoder) name(tag uint64, b []byte) (string, bool) {
	last := &d.last[tag>>3&15]
	if *last == string(b) {
		return *last, true
	}
	s, ok := d.names[string(b)]
	if !ok {
		if s, ok = text(b); !ok {
			return s, false
		}
		if len(b) > maxName {
			return s, true
		}
		if d.names == nil || len(d.names) == maxNames {
			d.names = map[string]string{}
		}
		d.names[s] = s
	}
	*last = s
	return s, true
}

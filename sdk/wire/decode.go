package wire

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pluginhost/host/sdk/wire/internal/field"
)

// decoder hands the elements of frames to a handler. The elements are its own
// and are used again: reading allocates for strings that it has not met, and
// for errors.
type decoder struct {
	handler *Handler
	emit    Emit
	deliver Deliver
	settle  Settle
	names   field.Names
}

func malformed(what string) error { return protocolErrorf("%s is not valid protobuf", what) }

// frame hands the elements of a frame to the handler, in their order. Fields
// that this version does not know are skipped, here and below.
func (d *decoder) frame(b []byte) error {
	for len(b) > 0 {
		tag, _, val, rest, ok := field.Next(b)
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
		tag, num, val, rest, ok := field.Next(b)
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
		tag, num, val, rest, ok := field.Next(b)
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
		tag, num, val, rest, ok := field.Next(b)
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
		tag, num, val, rest, ok := field.Next(b)
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
			if s.Token, ok = field.Text(val); !ok || len(val) > MaxToken {
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
		tag, num, _, rest, ok := field.Next(b)
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
		tag, num, val, rest, ok := field.Next(b)
		if !ok {
			return malformed("an event")
		}
		b = rest
		switch tag {
		case 1<<3 | 2:
			ok = field.SetID(&e.ID, val)
		case 2<<3 | 2:
			e.Type, ok = d.names.Text(tag, val)
		case 3<<3 | 2:
			e.Source, ok = d.names.Text(tag, val)
		case 4<<3 | 2:
			e.Subject, ok = field.Text(val)
		case 5<<3 | 1:
			e.Time = int64(num)
		case 6<<3 | 2:
			ok = field.SetID(&e.Correlation, val)
		case 7<<3 | 2:
			ok = field.SetID(&e.Causation, val)
		case 8<<3 | 1:
			e.Deadline = int64(num)
		case 9<<3 | 2:
			e.Traceparent, ok = field.Text(val)
		case 10<<3 | 2:
			e.Tracestate, ok = field.Text(val)
		case 11<<3 | 2:
			e.ContentType, ok = d.names.Text(tag, val)
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
		tag, num, val, rest, ok := field.Next(b)
		if !ok {
			return malformed("an error")
		}
		b = rest
		switch tag {
		case 1 << 3:
			e.Code = Code(uint32(num))
		case 2<<3 | 2:
			e.Reason, ok = d.names.Text(tag, val)
		case 3<<3 | 2:
			e.Message, ok = field.Text(val)
		case 4 << 3:
			e.Retryable = num != 0
		case 5<<3 | 2:
			e.Details = bytes.Clone(val)
			continue
		case 6<<3 | 2:
			e.Instance, ok = d.names.Text(tag, val)
		case 7<<3 | 2:
			e.Version, ok = d.names.Text(tag, val)
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

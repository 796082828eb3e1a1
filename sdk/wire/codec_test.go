package wire

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pluginhost/host/sdk/wire/internal/pb"
)

// collect is a handler that keeps what a frame holds, as the generated types
// have it.
func collect(into *pb.Frame) Handler {
	return Handler{
		Emit: func(e *Emit) error {
			into.Emit = append(into.Emit, &pb.Emit{Promise: e.Promise, Instance: e.Instance, Type: e.Type, Event: pbEvent(&e.Event)})
			return nil
		},
		Accept: func(promise uint64) error {
			into.Accept = append(into.Accept, &pb.Accept{Promise: []uint64{promise}})
			return nil
		},
		Deliver: func(d *Deliver) error {
			into.Deliver = append(into.Deliver, &pb.Deliver{Delivery: d.Delivery, Attempt: d.Attempt, Instance: d.Instance, Action: d.Action,
				Deadline: uint64(d.Deadline), Event: pbEvent(&d.Event), Input: bytes.Clone(d.Input), HasInput: d.HasInput})
			return nil
		},
		Settle: func(s *Settle) error {
			x := &pb.Settle{Ref: s.Ref, Attempt: s.Attempt, Value: bytes.Clone(s.Value), Token: s.Token, Instance: s.Instance}
			if e := s.Err; e != nil {
				x.Error = &pb.Error{Code: uint32(e.Code), Reason: e.Reason, Message: e.Message, Retryable: e.Retryable,
					Details: e.Details, Instance: e.Instance, Version: e.Version}
			}
			into.Settle = append(into.Settle, x)
			return nil
		},
		Credit: func(instance, n uint32) error {
			into.Credit = append(into.Credit, &pb.Credit{Instance: instance, N: n})
			return nil
		},
		Cancel: func(delivery uint64, attempt uint32, why Cause) error {
			into.Cancel = append(into.Cancel, &pb.Cancel{Delivery: delivery, Attempt: attempt, Cause: pb.Cancel_Cause(int32(why))})
			return nil
		},
		Detach: func(promise, delivery uint64, attempt uint32) error {
			into.Detach = append(into.Detach, &pb.Detach{Promise: promise, Delivery: delivery, Attempt: attempt})
			return nil
		},
		Withdraw: func(promise uint64, instance uint32) error {
			into.Withdraw = append(into.Withdraw, &pb.Withdraw{Promise: promise, Instance: instance})
			return nil
		},
	}
}

func pbID(id ID) []byte {
	if id.IsZero() {
		return nil
	}
	return bytes.Clone(id[:])
}

func pbEvent(e *Event) *pb.Event {
	return &pb.Event{Id: pbID(e.ID), Type: e.Type, Source: e.Source, Subject: e.Subject, Time: uint64(e.Time), Correlation: pbID(e.Correlation),
		Causation: pbID(e.Causation), Deadline: uint64(e.Deadline), Traceparent: e.Traceparent, Tracestate: e.Tracestate,
		ContentType: e.ContentType, Data: bytes.Clone(e.Data)}
}

// canonical is a frame as the handler of collect would make it of the same
// bytes: accepts one by one, and an event where there may be none.
func canonical(f *pb.Frame) *pb.Frame {
	c := proto.CloneOf(f)
	c.Accept = nil
	for _, a := range f.Accept {
		for _, p := range a.Promise {
			c.Accept = append(c.Accept, &pb.Accept{Promise: []uint64{p}})
		}
	}
	for _, e := range c.Emit {
		if e.Event == nil {
			e.Event = &pb.Event{}
		}
	}
	for _, d := range c.Deliver {
		if d.Event == nil {
			d.Event = &pb.Event{}
		}
	}
	forget(reflect.ValueOf(c))
	return c
}

// forget removes unknown fields, which the decoder skips.
func forget(v reflect.Value) {
	if m, ok := v.Interface().(proto.Message); ok && !v.IsNil() {
		m.ProtoReflect().SetUnknown(nil)
		for i := range v.Elem().NumField() {
			f := v.Elem().Field(i)
			switch {
			case f.Kind() == reflect.Pointer && f.CanInterface():
				forget(f)
			case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Pointer:
				for j := range f.Len() {
					forget(f.Index(j))
				}
			}
		}
	}
}

// FuzzDecode: whatever the bytes, the decoder neither panics nor believes more
// than there is; and what it accepts is what generated code makes of them.
func FuzzDecode(f *testing.F) {
	for seed := range 32 {
		b, err := proto.Marshal(random(rand.New(rand.NewPCG(uint64(seed), 1))))
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 2000 { // small ones are varied faster
			f.Add(b)
		}
	}
	f.Add([]byte{0x0a, 0x02, 0x08, 0x00})             // an emit whose promise is 0
	f.Add([]byte{0x12, 0x04, 0x08, 0x01, 0x08, 0x02}) // accepts that are not packed
	f.Add([]byte{0x22, 0x06, 0x22, 0x00, 0x22, 0x02, 0x08, 0x05})
	f.Add([]byte{0x7b, 0x7c}) // a group
	f.Fuzz(func(t *testing.T, b []byte) {
		got := &pb.Frame{}
		h := collect(got)
		d := decoder{handler: &h}
		err := d.frame(bytes.Clone(b))
		want := &pb.Frame{}
		oracle := proto.Unmarshal(b, want)
		if err == nil && oracle != nil {
			t.Fatalf("accepted what is not protobuf: %v", oracle)
		}
		if err != nil {
			// A field that comes twice may be bad at first: written anew, each
			// comes once.
			if oracle == nil && !refusable(want) {
				again, err := proto.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				if err := d.frame(again); err != nil {
					t.Fatalf("refused: %v\n%v", err, want)
				}
			}
			return
		}
		if want := canonical(want); !proto.Equal(got, want) {
			t.Fatalf("decoded\n%v\nwanted\n%v", got, want)
		}
	})
}

// refusable reports whether valid protobuf breaks a rule of the contract.
func refusable(f *pb.Frame) bool {
	badID := func(ids ...[]byte) bool {
		for _, id := range ids {
			if len(id) != 0 && len(id) != 16 {
				return true
			}
		}
		return false
	}
	badEvent := func(e *pb.Event) bool {
		return badID(e.GetId(), e.GetCorrelation(), e.GetCausation()) || proto.Size(e) > MaxHeader
	}
	for _, e := range f.Emit {
		if e.Promise == 0 || badEvent(e.Event) {
			return true
		}
	}
	for _, d := range f.Detach {
		if d.Promise == 0 {
			return true
		}
	}
	for _, d := range f.Deliver {
		if badEvent(d.Event) {
			return true
		}
	}
	for _, s := range f.Settle {
		if proto.Size(s) > MaxHeader {
			return true
		}
	}
	return false
}

// random is a frame of all kinds, with large and empty fields.
func random(r *rand.Rand) *pb.Frame {
	text := func() string {
		return strings.Repeat([]string{"", "a", "é", "http.orders.request"}[r.IntN(4)], r.IntN(3))
	}
	raw := func() []byte {
		b := make([]byte, []int{0, 1, 127, 128, 300, 20_000}[r.IntN(6)])
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if len(b) == 0 {
			return nil
		}
		return b
	}
	id := func() []byte {
		if r.IntN(3) == 0 {
			return nil
		}
		x := NewID()
		return x[:]
	}
	num := func() uint64 { return r.Uint64() >> r.IntN(64) }
	event := func() *pb.Event {
		return &pb.Event{Id: id(), Type: text(), Source: text(), Subject: text(), Time: num(), Correlation: id(), Causation: id(),
			Deadline: num(), Traceparent: text(), Tracestate: text(), ContentType: text(), Data: raw()}
	}
	f := &pb.Frame{}
	for range r.IntN(4) {
		f.Emit = append(f.Emit, &pb.Emit{Promise: num() | 1, Instance: uint32(num()), Type: uint32(num()), Event: event()})
		f.Accept = append(f.Accept, &pb.Accept{Promise: []uint64{num()}})
		f.Deliver = append(f.Deliver, &pb.Deliver{Delivery: num(), Attempt: uint32(num()), Instance: uint32(num()), Action: uint32(num()),
			Deadline: num(), Event: event(), Input: raw(), HasInput: r.IntN(2) == 0})
		s := &pb.Settle{Ref: num(), Attempt: uint32(num()), Value: raw()}
		if r.IntN(2) == 0 {
			s.Error = &pb.Error{Code: uint32(num()), Reason: text(), Message: text(), Retryable: r.IntN(2) == 0, Details: raw(), Instance: text(), Version: text()}
		}
		if r.IntN(3) == 0 {
			s.Token, s.Instance = text(), uint32(num())
		}
		f.Settle = append(f.Settle, s)
		f.Credit = append(f.Credit, &pb.Credit{Instance: uint32(num()), N: uint32(num())})
		f.Cancel = append(f.Cancel, &pb.Cancel{Delivery: num(), Attempt: uint32(num()), Cause: pb.Cancel_Cause(r.IntN(4))})
		f.Detach = append(f.Detach, &pb.Detach{Promise: num() | 1, Delivery: num(), Attempt: uint32(num())})
		f.Withdraw = append(f.Withdraw, &pb.Withdraw{Promise: num(), Instance: uint32(num())})
	}
	return f
}

// What generated code makes is read as it was meant.
func TestDecodeGenerated(t *testing.T) {
	for seed := range 500 {
		f := random(rand.New(rand.NewPCG(uint64(seed), 2)))
		b, err := proto.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		got := &pb.Frame{}
		h := collect(got)
		d := decoder{handler: &h}
		if err := d.frame(b); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !proto.Equal(got, canonical(f)) {
			t.Fatalf("seed %d: %v\nwanted %v", seed, got, f)
		}
	}
}

// What is written here is read by generated code, and has the very bytes that
// it would write.
func TestEncodeAsGenerated(t *testing.T) {
	for seed := range 500 {
		r := rand.New(rand.NewPCG(uint64(seed), 3))
		f := random(r)
		// Through the decoder, so that both have the same values.
		b, err := proto.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var out, want []byte
		appendWant := func(m *pb.Frame) {
			if want, err = (proto.MarshalOptions{}).MarshalAppend(want, m); err != nil {
				t.Fatal(err)
			}
		}
		fail := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		h := Handler{
			Emit: func(e *Emit) error {
				event, err := e.Event.size()
				fail(err)
				out = appendEmit(out, e, sizeEmit(e, event), event)
				return nil
			},
			Accept: func(p uint64) error { out = appendAccept(out, p); return nil },
			Deliver: func(d *Deliver) error {
				event, err := d.Event.size()
				fail(err)
				out = appendDeliver(out, d, sizeDeliver(d, event), event)
				return nil
			},
			Settle: func(s *Settle) error {
				rejected := 0
				if s.Err != nil {
					var err error
					rejected, err = s.Err.size()
					fail(err)
				}
				out = appendSettle(out, s, sizeSettle(s, rejected), rejected)
				return nil
			},
			Credit:   func(uint32, uint32) error { return nil },
			Cancel:   func(uint64, uint32, Cause) error { return nil },
			Detach:   func(uint64, uint64, uint32) error { return nil },
			Withdraw: func(uint64, uint32) error { return nil },
		}
		d := decoder{handler: &h}
		fail(d.frame(b))
		for _, e := range f.Emit {
			appendWant(&pb.Frame{Emit: []*pb.Emit{e}})
		}
		for _, a := range f.Accept {
			if a.Promise[0] == 0 { // packed zeros are written all the same
				want = append(want, 0x12, 0x03, 0x0a, 0x01, 0x00)
				continue
			}
			appendWant(&pb.Frame{Accept: []*pb.Accept{a}})
		}
		for _, x := range f.Deliver {
			appendWant(&pb.Frame{Deliver: []*pb.Deliver{x}})
		}
		for _, x := range f.Settle {
			appendWant(&pb.Frame{Settle: []*pb.Settle{x}})
		}
		if !bytes.Equal(out, want) {
			t.Fatalf("seed %d:\n%x\nwanted\n%x", seed, out, want)
		}
	}
}

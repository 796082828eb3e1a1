//go:build !race

// With the race detector pools lose things on purpose.

package wire

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pluginhost/host/sdk/wire/internal/frame"
)

// An event that passes costs no allocation, but for buffers that are kept.
func TestPassingAllocatesNothing(t *testing.T) {
	e := Emit{Promise: 1 << 40, Instance: 1, Type: 2, Event: Event{ID: NewID(), Type: "http.orders.request", Source: "n1/http.orders", Subject: "",
		Time: 1, Correlation: NewID(), ContentType: "text/plain", Data: make([]byte, 256)}}
	d := Deliver{Delivery: 1 << 41, Attempt: 1, Instance: 1, Deadline: 5, Event: e.Event}
	s := Settle{Ref: 1 << 40, Attempt: 1, Value: []byte("{}")}
	l := NewLane(nil)
	h := Handler{Emit: func(*Emit) error { return nil }, Deliver: func(*Deliver) error { return nil },
		Settle: func(*Settle) error { return nil }, Accept: func(uint64) error { return nil }, Credit: func(uint32, uint32) error { return nil }}
	dec := decoder{handler: &h}
	var frames []*frame.Frame
	round := func() {
		for range 100 {
			_, _, _, _, _ = l.Emit(&e), l.Accept(7), l.Deliver(&d), l.Settle(&s), l.Credit(1, 1)
		}
		frames = l.pending.Take(frames)
		for _, f := range frames {
			b := f.Sealed()
			_, n := protowire.ConsumeVarint(b)
			if err := dec.frame(b[n:]); err != nil {
				t.Fatal(err)
			}
		}
		l.pending.Written(frames)
	}
	round()
	if n := testing.AllocsPerRun(100, round) / 100; n > 0.05 {
		t.Errorf("%.2f allocations for an event on its way", n)
	}
}

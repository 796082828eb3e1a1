package work

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginhost/host/sdk/wire"
)

// Eight deliveries cost one slab, and a copy of their data where that is large.
func TestCallAllocates(t *testing.T) {
	h := func(context.Context, []byte) ([]byte, error) { return nil, nil }
	for size, most := range map[int]float64{0: 1, 256: 2, slabShare: 3, 4096: 9} {
		var s Slab
		d := &wire.Deliver{Delivery: 1, Attempt: 1, Event: wire.Event{Data: make([]byte, size)}}
		if n := testing.AllocsPerRun(1000, func() {
			for range slabCalls {
				s.Call("do", h, false, d).Run()
			}
		}); n > most {
			t.Errorf("%d bytes: %.1f allocations for %d deliveries", size, n, slabCalls)
		}
	}
}

// What a handler keeps stays as it was, and its neighbours do when it appends.
func TestSlabKeeps(t *testing.T) {
	var s Slab
	lent := make([]byte, 100)
	var kept [][]byte
	keep := func(_ context.Context, in []byte) ([]byte, error) {
		kept = append(kept, in, append(in, "more"...))
		return nil, nil
	}
	for n := range 100 {
		for i := range lent {
			lent[i] = byte(n)
		}
		d := &wire.Deliver{Event: wire.Event{Data: lent}}
		if n%2 == 1 {
			d.Event.Data, d.Input, d.HasInput = nil, lent, true
		}
		s.Call("do", keep, false, d).Run()
	}
	for n, in := range kept {
		if want := append(bytes.Repeat([]byte{byte(n / 2)}, 100), "more"[:n%2*4]...); !bytes.Equal(in, want) {
			t.Fatalf("input %d is %v", n/2, in)
		}
	}
}

// Large data stays where the lane has it, small data is copied.
func TestSlabLeaves(t *testing.T) {
	large, small := make([]byte, slabShare+1), make([]byte, slabShare)
	s := Slab{Keep: func(b []byte) []byte { return b }}
	h := func(context.Context, []byte) ([]byte, error) { return nil, nil }
	c := s.Call("do", h, false, &wire.Deliver{Event: wire.Event{Data: large}, Input: small, HasInput: true})
	if &c.event.Data[0] != &large[0] || &c.input[0] == &small[0] {
		t.Error("large data was copied, or small data was not")
	}
}

// Who learns that a call was handled gives credit for it, and the next call may
// be there before the worker goes on: its place is free by then.
func TestPoolHasRoomWhenItRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Slab
		call := func() *Call {
			return s.Call("do", func(context.Context, []byte) ([]byte, error) { return nil, nil }, false, &wire.Deliver{})
		}
		var p *Pool
		handled := 0
		p = NewPool(1, func(c *Call) { c.Run() }, func(int, bool) {
			if handled++; handled < 3 && !p.Put(call()) {
				t.Error("there is no room for the call after")
			}
		})
		p.Put(call())
		p.Rouse()
		<-p.Idle()
		if handled != 3 {
			t.Errorf("%d calls were handled", handled)
		}
		p.Close()
	})
}

// Calls that wait are told from the last one, a handler that blocks holds up
// none of the others, and rest comes before the pool is idle.
func TestPoolRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []bool
		var p *Pool
		var s Slab
		blocked := make(chan struct{})
		p = NewPool(3, func(c *Call) { c.Run() }, func(_ int, last bool) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, last)
			select {
			case <-p.Idle():
				t.Error("idle before it was told")
			default:
			}
		})
		put := func(f func()) bool {
			return p.Put(s.Call("do", func(context.Context, []byte) ([]byte, error) { f(); return nil, nil }, false, &wire.Deliver{}))
		}
		if !put(func() { <-blocked }) || !put(func() { time.Sleep(time.Second) }) || !put(func() {}) || put(func() {}) {
			t.Error("it takes three and no fourth")
		}
		p.Rouse()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !slices.Equal(told, []bool{true, true}) {
			t.Errorf("with one blocked: %v", told)
		}
		close(blocked)
		<-p.Idle()
		synctest.Wait()
		if len(told) != 3 || !told[2] {
			t.Errorf("%v", told)
		}
		p.Close()
	})
}

// What is lent is copied where a lane has nothing to lend, and is free after.
func TestSlabLends(t *testing.T) {
	in := []byte("input")
	for name, borrow := range map[string]func() *wire.Chunk{"nobody lends": nil, "nothing is left": func() *wire.Chunk { return nil }} {
		s := Slab{Borrow: borrow}
		c := s.Call("do", nil, true, &wire.Deliver{Event: wire.Event{Data: []byte("data")}, Input: in, HasInput: true})
		if &c.input[0] == &in[0] || string(c.input) != "input" || c.event.Data != nil {
			t.Errorf("%s: %q, and the event has %q", name, c.input, c.event.Data)
		}
		c.Free()
		if string(c.input) != "input" {
			t.Errorf("%s: a copy was taken away: %q", name, c.input)
		}
	}
}

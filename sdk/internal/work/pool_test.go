package work

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginhost/host/sdk/wire"
)

// A delivery costs its call and a copy of its data.
func TestCallAllocates(t *testing.T) {
	d := &wire.Deliver{Delivery: 1, Attempt: 1, Event: wire.Event{Data: make([]byte, 256)}}
	h := func(context.Context, []byte) ([]byte, error) { return nil, nil }
	if n := testing.AllocsPerRun(1000, func() { NewCall("do", h, d).Run() }); n > 2 {
		t.Errorf("%.1f allocations a delivery", n)
	}
}

// Who learns that a call was handled gives credit for it, and the next call may
// be there before the worker goes on: its place is free by then.
func TestPoolHasRoomWhenItRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		call := func() *Call {
			return NewCall("do", func(context.Context, []byte) ([]byte, error) { return nil, nil }, &wire.Deliver{})
		}
		var p *Pool
		handled := 0
		p = NewPool(1, func(c *Call) { c.Run() }, func(bool) {
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
		blocked := make(chan struct{})
		p = NewPool(3, func(c *Call) { c.Run() }, func(last bool) {
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
			return p.Put(NewCall("do", func(context.Context, []byte) ([]byte, error) { f(); return nil, nil }, &wire.Deliver{}))
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

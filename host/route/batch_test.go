package route

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/sdk/wire"
)

// What is in a batch takes effect at its Close, in the order of its coming, as
// if each had come alone: a full queue is filled anew by what settles between.
func TestBatchIsInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", overflow("reject", 1))})
		a := g.source("a", "said")
		b := g.attach("b", 1)
		a.emit("0")
		first := b.one(t)
		batch := g.r.NewBatch(nil, nil)
		emit := func(promise uint64, data string) {
			batch.Emit(&a.Source, &wire.Emit{Promise: promise, Event: wire.Event{Data: []byte(data)}})
		}
		emit(11, "1") // waits for credit
		emit(12, "2") // finds the queue full
		value := []byte("done")
		batch.Settle(b.Inbox, &wire.Settle{Ref: first.Delivery, Attempt: 1, Value: value})
		batch.Credit(b.Inbox, 1)
		emit(13, "3") // has room again
		a.want(11, "pending")
		batch.Close()
		a.want(11, "accepted")
		if e := a.error(12); e.Reason != wire.ReasonQueueFull {
			t.Errorf("%v", e)
		}
		a.want(1, "= done")
		a.want(13, "accepted")
		if got := texts(b.take()); !slices.Equal(got, []string{"1"}) {
			t.Errorf("delivered %v", got)
		}
		g.check()
		batch.Close() // nothing came since
		b.Credit(1)
		for _, d := range b.take() {
			_ = b.resolve(d, "")
		}
		a.want(13, "= ")
	})
}

// A batch is bounded: much takes effect before Close.
func TestBatchIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b", overflow("block", 5000))})
		a := g.source("a", "said")
		g.attach("b", 0)
		batch := g.r.NewBatch(nil, nil)
		for n := range uint64(maxActs + 1) {
			batch.Emit(&a.Source, &wire.Emit{Promise: n + 1, Event: wire.Event{Data: fmt.Append(nil, n)}})
		}
		if n := g.r.Queued("b"); n != maxActs {
			t.Errorf("%d queued before Close", n)
		}
		batch.Close()
		if n := g.r.Queued("b"); n != maxActs+1 {
			t.Errorf("%d queued", n)
		}
	})
}

// Both ends are flushed once something was said to them, and not otherwise.
func TestFlushed(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b")})
		a := g.source("a", "said")
		b := g.attach("b", 9)
		for _, step := range []struct {
			name       string
			do         func()
			out, reply bool
		}{
			{"emit", func() { a.emit("1") }, true, true},
			{"settle", func() { _ = b.resolve(b.one(t), "") }, false, true},
			{"credit", func() { b.Credit(1) }, false, false},
			{"late", func() { _ = b.Settle(&wire.Settle{Ref: 99}) }, false, false},
			{"no such event", func() { a.index = 9; a.emit("1") }, false, true},
		} {
			a.flushed.Store(0)
			b.flushed.Store(0)
			step.do()
			if (b.flushed.Load() > 0) != step.out || (a.flushed.Load() > 0) != step.reply {
				t.Errorf("%s: the outlet was flushed %d times, the replier %d times", step.name, b.flushed.Load(), a.flushed.Load())
			}
		}
	})
}

// flushes counts what is told to an emitter and an instance at once.
type flushes struct{ n int }

func (*flushes) Accept(uint64) error                     { return nil }
func (*flushes) Settle(*wire.Settle) error               { return nil }
func (*flushes) Deliver(*wire.Deliver) error             { return nil }
func (*flushes) Cancel(uint64, uint32, wire.Cause) error { return nil }
func (f *flushes) Flush()                                { f.n++ }

// Close flushes all who were told something, but for the one whose frames they
// were: that one does so before it waits for more. What it is told by the batch
// of another is flushed there.
func TestBatchFlushesOthers(t *testing.T) {
	bubble(t, func(t *testing.T, g *rig) {
		g.r.Swap([]config.Route{routeTo("r", "b")})
		var emitter, handler flushes
		s := &Source{Address: "a", Events: []string{"said"}, Replier: &emitter}
		in := g.r.Attach(Attachment{Address: "b", Actions: []string{"do"}, Outlet: &handler})
		in.Credit(10)
		was := handler.n
		own := g.r.NewBatch(&emitter, nil)
		own.Emit(s, &wire.Emit{Promise: 1})
		own.Close()
		if emitter.n != 0 || handler.n != was+1 {
			t.Errorf("the emitter was flushed %d times, the handler %d times", emitter.n, handler.n-was)
		}
		others := g.r.NewBatch(&handler, nil)
		others.Settle(in, &wire.Settle{Ref: 1, Attempt: 1})
		others.Close()
		if emitter.n != 1 {
			t.Errorf("the emitter was flushed %d times by the batch of the handler", emitter.n)
		}
	})
}

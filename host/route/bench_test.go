package route

import (
	"context"
	"sync"
	"testing"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// pipe is an outlet that remembers what to settle, as a lane would carry it.
type pipe struct {
	mu     sync.Mutex
	more   sync.Cond
	refs   []wire.Settle
	buf    []byte
	closed bool
}

func newPipe() *pipe {
	q := &pipe{buf: make([]byte, 1<<10)}
	q.more.L = &q.mu
	return q
}

func (q *pipe) Deliver(d *wire.Deliver) error {
	q.mu.Lock()
	copy(q.buf, d.Event.Data)
	q.refs = append(q.refs, wire.Settle{Ref: d.Delivery, Attempt: d.Attempt})
	if len(q.refs) == 1 {
		q.more.Signal()
	}
	q.mu.Unlock()
	return nil
}

func (q *pipe) Cancel(uint64, uint32, wire.Cause) error { return nil }

func (q *pipe) Flush() {}

// take swaps what waits for an empty slice, when block is set not before
// something does.
func (q *pipe) take(empty []wire.Settle, block bool) []wire.Settle {
	q.mu.Lock()
	defer q.mu.Unlock()
	for block && len(q.refs) == 0 && !q.closed {
		q.more.Wait()
	}
	refs := q.refs
	q.refs = empty[:0]
	return refs
}

type sink struct{ window chan struct{} }

func (sink) Accept(uint64) error { return nil }
func (sink) Flush()              {}
func (s sink) Settle(*wire.Settle) error {
	if s.window != nil {
		<-s.window
	}
	return nil
}

func benchRouter(b *testing.B) (*Router, *Inbox, *pipe) {
	r := New(Options{Node: "n", Recorder: observe.NewRecorder(10000)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = r.Run(ctx); close(done) }()
	b.Cleanup(func() { cancel(); <-done })
	r.Swap([]config.Route{routeTo("r", "b")})
	q := newPipe()
	i := r.Attach(Attachment{Address: "b", Actions: []string{"do"}, Outlet: q})
	b.SetBytes(256)
	b.ReportAllocs()
	return r, i, q
}

// BenchmarkHop is Emit, Deliver and Settle in one goroutine, 64 in flight.
func BenchmarkHop(b *testing.B) {
	r, i, q := benchRouter(b)
	i.Credit(64)
	s := &Source{Address: "a", Events: []string{"said"}, Replier: sink{}}
	e := &wire.Emit{Promise: 1, Event: wire.Event{ID: wire.NewID(), Data: make([]byte, 256)}}
	value := make([]byte, 256)
	var empty []wire.Settle
	for n := 0; b.Loop(); n++ {
		r.Emit(s, e)
		if n%64 == 63 {
			refs := q.take(empty, false)
			for k := range refs {
				refs[k].Value = value
				_ = i.Settle(&refs[k])
			}
			i.Credit(uint32(len(refs)))
			empty = refs
		}
	}
}

// BenchmarkHopTwoLanes has one goroutine emit and another settle, as lanes do.
func BenchmarkHopTwoLanes(b *testing.B) {
	r, i, q := benchRouter(b)
	i.Credit(1024)
	window := make(chan struct{}, 1024)
	s := &Source{Address: "a", Events: []string{"said"}, Replier: sink{window}}
	e := &wire.Emit{Promise: 1, Event: wire.Event{ID: wire.NewID(), Data: make([]byte, 256)}}
	value := make([]byte, 256)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var empty []wire.Settle
		for {
			refs := q.take(empty, true)
			if len(refs) == 0 {
				return
			}
			for k := range refs {
				refs[k].Value = value
				_ = i.Settle(&refs[k])
			}
			i.Credit(uint32(len(refs)))
			empty = refs
		}
	}()
	for b.Loop() {
		window <- struct{}{}
		r.Emit(s, e)
	}
	_ = r.Idle(context.Background())
	q.mu.Lock()
	q.closed = true
	q.more.Signal()
	q.mu.Unlock()
	<-done
}

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

func benchRouter(b testing.TB) (*Router, *Inbox, *pipe) {
	r := New(Options{Node: "n", Recorder: observe.NewRecorder(10000)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = r.Run(ctx); close(done) }()
	b.Cleanup(func() { cancel(); <-done })
	r.Swap([]config.Route{routeTo("r", "b")})
	q := newPipe()
	i := r.Attach(Attachment{Address: "b", Actions: []string{"do"}, Outlet: q})
	if b, ok := b.(*testing.B); ok {
		b.SetBytes(256)
		b.ReportAllocs()
	}
	return r, i, q
}

// hop carries n events through a router, as lanes with frames of n would.
type hop struct {
	emits, settles *Batch
	inbox          *Inbox
	pipe           *pipe
	source         *Source
	emit           *wire.Emit
	value          []byte
	empty          []wire.Settle
}

func newHop(r *Router, i *Inbox, q *pipe, replier Replier) *hop {
	return &hop{emits: r.NewBatch(nil, nil), settles: r.NewBatch(nil, nil), inbox: i, pipe: q, value: make([]byte, 256),
		source: &Source{Address: "a", Events: []string{"said"}, Replier: replier},
		emit:   &wire.Emit{Event: wire.Event{ID: wire.NewID(), Data: make([]byte, 256)}}}
}

func (h *hop) emitAll(n int) {
	for range n {
		h.emit.Promise++
		h.emits.Emit(h.source, h.emit)
	}
	h.emits.Close()
}

// settleAll settles what was delivered and returns how many that were.
func (h *hop) settleAll(block bool) int {
	refs := h.pipe.take(h.empty, block)
	for k := range refs {
		refs[k].Value = h.value
		h.settles.Settle(h.inbox, &refs[k])
	}
	h.settles.Credit(h.inbox, uint32(len(refs)))
	h.settles.Close()
	h.empty = refs
	return len(refs)
}

// BenchmarkHop is Emit, Deliver and Settle in one goroutine, 64 in flight.
func BenchmarkHop(b *testing.B) {
	r, i, q := benchRouter(b)
	i.Credit(64)
	h := newHop(r, i, q, sink{})
	for n := 0; b.Loop(); n++ {
		if n%64 == 63 {
			h.emitAll(64)
			h.settleAll(false)
		}
	}
}

// BenchmarkHopTwoLanes has one goroutine emit and another settle, as lanes do.
func BenchmarkHopTwoLanes(b *testing.B) {
	r, i, q := benchRouter(b)
	i.Credit(1024)
	window := make(chan struct{}, 1024)
	h := newHop(r, i, q, sink{window})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for h.settleAll(true) > 0 { //nolint:revive // until the pipe is closed
		}
	}()
	for b.Loop() {
		window <- struct{}{}
		h.emitAll(1)
	}
	_ = r.Idle(context.Background())
	q.mu.Lock()
	q.closed = true
	q.more.Signal()
	q.mu.Unlock()
	<-done
}

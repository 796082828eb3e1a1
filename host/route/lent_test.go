package route

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// lanes returns both ends of a lane. What the second reads is of a pool.
func lanes(t *testing.T, pool *wire.Pool) (theirs, ours *wire.Lane) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for n, fd := range fds {
		f := os.NewFile(uintptr(fd), "lane")
		if ends[n], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	theirs, ours = wire.NewLane(ends[0]), wire.NewLane(ends[1])
	ours.ReadInto(pool)
	return theirs, ours
}

// doubtful is an instance that looks at what it gets, and answers it later, in
// any order: with success, or so that it comes again, or so that it is dead.
type doubtful struct {
	t     *testing.T
	mu    sync.Mutex
	inbox *Inbox
	held  []wire.Settle
	tries map[uint64]int
	seen  int
}

// told is what the data of an event says: its number, and bytes of it.
func told(n uint64, size int) []byte {
	b := fmt.Appendf(nil, "%08d", n)
	return append(b, bytes.Repeat([]byte{byte('a' + n%26)}, size-len(b))...)
}

func right(data []byte) (n uint64, ok bool) {
	if _, err := fmt.Sscanf(string(data[:8]), "%d", &n); err != nil {
		return 0, false
	}
	return n, bytes.Equal(data, told(n, len(data)))
}

func (d *doubtful) Deliver(x *wire.Deliver) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := right(x.Event.Data)
	if !ok {
		d.t.Errorf("delivery %d, attempt %d: the data is not what was emitted: %.20q", x.Delivery, x.Attempt, x.Event.Data)
	}
	d.seen++
	d.tries[n]++
	s := wire.Settle{Ref: x.Delivery, Attempt: x.Attempt}
	switch {
	case n%7 == 0 && d.tries[n] < 3:
		s.Err = &wire.Error{Code: wire.Unavailable, Message: "again", Retryable: true}
	case n%31 == 0:
		s.Err = &wire.Error{Code: wire.InvalidArgument, Message: "never"}
	}
	d.held = append(d.held, s)
	return nil
}

func (d *doubtful) Cancel(uint64, uint32, wire.Cause) error { return nil }
func (d *doubtful) Flush()                                  {}

// answer settles some of what is held, and reports how much is left.
func (d *doubtful) answer(rng *rand.Rand, some int) int {
	d.mu.Lock()
	var now []wire.Settle
	for range min(some, len(d.held)) {
		at := rng.IntN(len(d.held))
		now = append(now, d.held[at])
		d.held[at] = d.held[len(d.held)-1]
		d.held = d.held[:len(d.held)-1]
	}
	left := len(d.held)
	d.mu.Unlock()
	for n := range now {
		if err := d.inbox.Settle(&now[n]); err != nil {
			d.t.Error(err)
		}
		d.inbox.Credit(1)
	}
	return left
}

// letters takes dead letters.
type letters struct {
	t     *testing.T
	inbox *Inbox
	due   chan wire.Settle
}

func (l *letters) Deliver(x *wire.Deliver) error {
	var letter struct {
		Event struct{ Data string }
	}
	if _, ok := right(x.Event.Data); !ok || json.Unmarshal(x.Input, &letter) != nil {
		l.t.Errorf("a letter's event is not what was emitted: %.20q", x.Event.Data)
	}
	l.due <- wire.Settle{Ref: x.Delivery, Attempt: x.Attempt}
	return nil
}

func (l *letters) Cancel(uint64, uint32, wire.Cause) error { return nil }
func (l *letters) Flush()                                  {}

// Data that stays where it was read is what was emitted for each attempt, for
// dead letters and for a replay, while the buffers of what is settled are read
// into again; and in the end nothing is held.
func TestLent(t *testing.T) {
	const events, size = 4000, 3000
	pool := wire.NewPool(1 << 20)
	theirs, ours := lanes(t, pool)
	r := New(Options{Node: "n", Recorder: observe.NewRecorder(100)})
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { _ = r.Run(ctx) })
	r.Swap([]config.Route{routeTo("r", "b", func(d *config.Delivery) {
		d.Backoff, d.MaxBackoff, d.Timeout = time.Millisecond, time.Millisecond, time.Hour
		d.DeadLetter = &config.Endpoint{Instance: "c", Name: "do"}
	})})
	handler := &doubtful{t: t, tries: map[uint64]int{}}
	handler.inbox = r.Attach(Attachment{Address: "b", Actions: []string{"do"}, Outlet: handler})
	handler.inbox.Credit(500)
	post := &letters{t: t, due: make(chan wire.Settle, events)}
	post.inbox = r.Attach(Attachment{Address: "c", Actions: []string{"do"}, Outlet: post})
	post.inbox.Credit(events)

	settled := make(chan struct{}, events)
	src := &Source{Address: "a", Events: []string{"said"}, Replier: counter{settled}}
	batch := r.NewBatch(nil, ours)
	most := 0
	wait.Go(func() {
		_ = ours.Run(ctx, wire.Handler{
			Emit:  func(e *wire.Emit) error { batch.Emit(src, e); return nil },
			Batch: func() error { batch.Close(); most = max(most, pool.Held()); return nil },
		})
	})
	wait.Go(func() { _ = theirs.Run(ctx, wire.Handler{}) })
	window := make(chan struct{}, 1000)
	wait.Go(func() {
		for n := range uint64(events) {
			select {
			case window <- struct{}{}:
			case <-ctx.Done():
				return
			}
			e := wire.Emit{Promise: n + 1, Event: wire.Event{Data: told(n+1, size)}}
			if err := theirs.Emit(&e); err != nil {
				t.Error(err)
			}
		}
	})
	rng := rand.New(rand.NewPCG(1, 2))
	deadline := time.After(2 * time.Minute)
	for done := 0; done < events; {
		select {
		case <-settled:
			done++
			<-window
		case s := <-post.due:
			_ = post.inbox.Settle(&s)
		case <-deadline:
			t.Fatalf("%d of %d events are settled", done, events)
		default:
			handler.answer(rng, 50)
			time.Sleep(50 * time.Microsecond)
		}
	}
	dead, _ := r.Dead()
	if len(dead) != events/31 {
		t.Errorf("%d are dead, want %d", len(dead), events/31)
	}
	for _, x := range r.Replay(func(*observe.Dead) bool { return true }) {
		if x.Err != nil {
			t.Error(x.Err)
		}
	}
	for pending := true; pending; {
		select {
		case s := <-post.due:
			_ = post.inbox.Settle(&s)
		case <-deadline:
			t.Fatal("what was replayed does not end")
		default:
			handler.answer(rng, 50)
			pending = r.c.Idle(short(t)) != nil
		}
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
	cancel()
	wait.Wait()
	if most < 1<<20 {
		t.Errorf("at most %d bytes were held: the pool was never full", most)
	}
	if n := pool.Held(); n != 0 {
		t.Errorf("%d bytes are held, and nothing is pending", n)
	}
}

// short is a ctx that ends soon.
func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// counter is an emitter that counts what is settled.
type counter struct{ settled chan<- struct{} }

func (counter) Accept(uint64) error           { return nil }
func (counter) Flush()                        {}
func (c counter) Settle(s *wire.Settle) error { c.settled <- struct{}{}; return nil }

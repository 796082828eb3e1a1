package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pluginhost/host/sdk/wire/internal/frame"
	"github.com/pluginhost/host/sdk/wire/internal/pb"
)

// patience is how long a wait may take before a test fails.
const patience = time.Minute

// runLane runs a lane over one end and returns the other, with what Run returns.
func runLane(t *testing.T, h Handler) (*Lane, net.Conn, <-chan error) {
	t.Helper()
	a, b := socketpair(t)
	l := NewLane(a)
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- l.Run(context.Background(), h)
	}()
	t.Cleanup(func() { b.Close(); l.Close(); <-done })
	b.SetDeadline(time.Now().Add(patience))
	return l, b, ended
}

func end(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		t.Fatal("Run does not return")
		return nil
	}
}

func frameOf(t *testing.T, f *pb.Frame) []byte {
	t.Helper()
	body, err := proto.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return append(protowire.AppendVarint(nil, uint64(len(body))), body...)
}

func TestFramesInPieces(t *testing.T) {
	got := make(chan string, 10)
	_, peer, _ := runLane(t, Handler{Settle: func(s *Settle) error { got <- fmt.Sprintf("%d %s", s.Ref, s.Value); return nil }})
	b := frameOf(t, &pb.Frame{Settle: []*pb.Settle{{Ref: 1, Value: []byte("one")}, {Ref: 2, Value: []byte("two")}}})
	b = append(b, 0) // an empty frame
	b = append(b, frameOf(t, &pb.Frame{Settle: []*pb.Settle{{Ref: 3, Value: []byte("three")}}})...)
	for i := range b {
		if _, err := peer.Write(b[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"1 one", "2 two", "3 three"} {
		if s := <-got; s != want {
			t.Errorf("%q, wanted %q", s, want)
		}
	}
}

// What is kept stays as it came, and its neighbours do when it is appended to.
func TestKeep(t *testing.T) {
	const settles = 300
	var kept [][]byte
	lane := make(chan *Lane, 1)
	done := make(chan struct{})
	var own *Lane
	l, peer, _ := runLane(t, Handler{Settle: func(s *Settle) error {
		if own == nil {
			own = <-lane
		}
		b := own.Keep(s.Value)
		_ = append(b, "more"...)
		if kept = append(kept, b); len(kept) == settles {
			close(done)
		}
		return nil
	}})
	lane <- l
	value := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 2000) }
	for i := 0; i < settles; i += 2 {
		b := frameOf(t, &pb.Frame{Settle: []*pb.Settle{{Ref: 1, Value: value(i)}, {Ref: 2, Value: value(i + 1)}}})
		if _, err := peer.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("not all came")
	}
	for i, b := range kept {
		if !bytes.Equal(b, value(i)) {
			t.Fatalf("value %d has changed", i)
		}
	}
}

func TestWhatEndsALane(t *testing.T) {
	settle := func(*Settle) error { return nil }
	broken := errors.New("handled badly")
	for _, c := range []struct {
		name    string
		bytes   []byte
		handler Handler
		want    string // part of the *ProtocolError
	}{
		{"oversize", protowire.AppendVarint(nil, MaxFrame+1), Handler{}, "the largest allowed has 16777216"},
		{"no varint", []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), Handler{}, "not a varint"},
		{"garbage", []byte("\x05GET /"), Handler{}, "not valid protobuf"},
		{"a kind that may not be sent", frameOf(t, &pb.Frame{Emit: []*pb.Emit{{Promise: 1}}}), Handler{Settle: settle}, "may not send an emit"},
		{"promise 0", frameOf(t, &pb.Frame{Emit: []*pb.Emit{{}}}), Handler{Emit: func(*Emit) error { return nil }}, "promise is 0"},
		{"an id of 3 bytes", frameOf(t, &pb.Frame{Emit: []*pb.Emit{{Promise: 1, Event: &pb.Event{Id: []byte("abc")}}}}), Handler{Emit: func(*Emit) error { return nil }}, "field 1 of an event"},
		{"large value", frameOf(t, &pb.Frame{Settle: []*pb.Settle{{Ref: 1, Value: make([]byte, MaxEvent+1)}}}), Handler{Settle: settle}, "a value of"},
		{"large header", frameOf(t, &pb.Frame{Settle: []*pb.Settle{{Ref: 1, Error: &pb.Error{Message: strings.Repeat("x", MaxHeader+1)}}}}), Handler{Settle: settle}, "everything else"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, peer, ended := runLane(t, c.handler)
			go peer.Write(c.bytes)
			err := end(t, ended)
			var p *ProtocolError
			if !errors.As(err, &p) || !strings.Contains(p.What, c.want) {
				t.Errorf("%v", err)
			}
			if err := l.Settle(&Settle{Ref: 1}); !errors.Is(err, ErrClosed) {
				t.Errorf("sending after the end: %v", err)
			}
		})
	}
	t.Run("the handler's error", func(t *testing.T) {
		_, peer, ended := runLane(t, Handler{Settle: func(*Settle) error { return broken }})
		peer.Write(frameOf(t, &pb.Frame{Settle: []*pb.Settle{{Ref: 1}}}))
		if err := end(t, ended); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
	t.Run("the peer is gone", func(t *testing.T) {
		_, peer, ended := runLane(t, Handler{})
		peer.Close()
		if err := end(t, ended); err != nil {
			t.Errorf("%v", err)
		}
	})
	t.Run("the peer died within a frame", func(t *testing.T) {
		_, peer, ended := runLane(t, Handler{})
		peer.Write(frameOf(t, &pb.Frame{Settle: []*pb.Settle{{Ref: 1, Value: make([]byte, 100)}}})[:50])
		peer.Close()
		if err := end(t, ended); err != nil {
			t.Errorf("%v", err)
		}
	})
	t.Run("ctx", func(t *testing.T) {
		a, b := socketpair(t)
		defer b.Close()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		if err := NewLane(a).Run(ctx, Handler{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// What was queued is written before the end, also when nothing ran yet.
func TestCloseWritesWhatIsQueued(t *testing.T) {
	a, b := socketpair(t)
	l := NewLane(a)
	for i := range 1000 {
		if err := l.Settle(&Settle{Ref: uint64(i + 1), Value: make([]byte, 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(t.Context(), Handler{}) }()
	next := uint64(1)
	reader := NewLane(b)
	closed := make(chan error, 1)
	go func() {
		closed <- reader.Run(t.Context(), Handler{Settle: func(s *Settle) error {
			if s.Ref != next {
				t.Errorf("%d, wanted %d", s.Ref, next)
			}
			if next++; next == 2 {
				l.Close() // while most is still queued
			}
			return nil
		}})
	}()
	if err := errors.Join(end(t, closed), end(t, ended)); err != nil {
		t.Error(err)
	}
	if next != 1001 {
		t.Errorf("%d settles came", next-1)
	}
}

// A peer that does not read costs a bounded amount of memory, then the lane
// fails. Room waits before that.
func TestPeerThatDoesNotRead(t *testing.T) {
	l, _, ended := runLane(t, Handler{})
	value := make([]byte, MaxEvent)
	sent := 0
	for ; ; sent++ {
		if err := l.Settle(&Settle{Ref: 1, Value: value}); err != nil {
			if !errors.Is(err, ErrBacklog) {
				t.Errorf("%v", err)
			}
			break
		}
		if sent == 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if err := l.Room(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("room with %d MiB waiting: %v", 4*sent, err)
			}
			cancel()
		}
		if sent > 2*MaxBacklog/MaxEvent {
			t.Fatal("there is no bound")
		}
	}
	if sent < 64 {
		t.Errorf("failed after %d of the largest", sent)
	}
	if err := end(t, ended); !errors.Is(err, ErrBacklog) {
		t.Errorf("%v", err)
	}
}

// What waits while the writer is busy goes as few frames.
func TestBatching(t *testing.T) {
	a, b := socketpair(t)
	l := NewLane(a)
	const n = 10_000
	for i := range n {
		if err := l.Accept(uint64(i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	go l.Run(t.Context(), Handler{})
	b.SetDeadline(time.Now().Add(patience))
	r := frame.NewReader(b, MaxFrame, nil)
	next, frames := uint64(1), 0
	for next <= n {
		body, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		frames++
		f := &pb.Frame{}
		if err := proto.Unmarshal(body, f); err != nil {
			t.Fatal(err)
		}
		for _, a := range f.Accept {
			for _, p := range a.Promise {
				if p != next {
					t.Fatalf("%d, wanted %d", p, next)
				}
				next++
			}
		}
	}
	b.Close()
	if frames > 10 {
		t.Errorf("%d frames for %d accepts", frames, n)
	}
}

// Many goroutines send; what each sends arrives in its order, and the elements
// are those that generated code reads.
func TestConcurrentSenders(t *testing.T) {
	l, peer, _ := runLane(t, Handler{})
	const senders, each = 8, 500
	var wait sync.WaitGroup
	for s := range uint32(senders) {
		wait.Go(func() {
			for i := range uint64(each) {
				e := Emit{Promise: i + 1, Instance: s, Event: Event{ID: NewID(), Subject: "bad \xff text", Data: make([]byte, i)}}
				if err := errors.Join(l.Emit(&e), l.Credit(s, 2), l.Cancel(i, s, TimedOut), l.Detach(i+1, i, s), l.Withdraw(i+1, s)); err != nil {
					t.Error(err)
				}
				l.Flush()
			}
		})
	}
	credits := map[uint32]uint32{}
	last := map[uint32]uint64{}
	emits, cancels, detached, withdrawn := 0, 0, 0, 0
	r := frame.NewReader(peer, MaxFrame, nil)
	total := func() (n uint32) {
		for _, c := range credits {
			n += c
		}
		return n
	}
	for emits < senders*each || cancels < senders*each || withdrawn < senders*each || detached < senders*each || total() < 2*senders*each {
		body, err := r.Next()
		if err != nil {
			t.Fatalf("%v after %d emits, %d cancels, %d credits", err, emits, cancels, total())
		}
		f := &pb.Frame{}
		if err := proto.Unmarshal(body, f); err != nil {
			t.Fatal(err)
		}
		for _, e := range f.Emit {
			if e.Promise != last[e.Instance]+1 || len(e.Event.Data) != int(e.Promise-1) || e.Event.Subject != "bad \uFFFD text" {
				t.Fatalf("%d: %d after %d, %d bytes", e.Instance, e.Promise, last[e.Instance], len(e.Event.Data))
			}
			last[e.Instance] = e.Promise
			emits++
		}
		for _, c := range f.Credit {
			credits[c.Instance] += c.N
		}
		for _, c := range f.Cancel {
			if c.Cause != pb.Cancel_TIMED_OUT {
				t.Fatalf("%v", c)
			}
		}
		for _, d := range f.Detach {
			if d.Promise != d.Delivery+1 {
				t.Fatalf("%v", d)
			}
		}
		cancels += len(f.Cancel)
		detached += len(f.Detach)
		withdrawn += len(f.Withdraw)
	}
	wait.Wait()
	if total() != 2*senders*each || emits != senders*each || cancels != senders*each {
		t.Errorf("%d credits, %d emits, %d cancels", total(), emits, cancels)
	}
}

func TestTooLarge(t *testing.T) {
	a, b := socketpair(t)
	defer a.Close()
	defer b.Close()
	l := NewLane(a)
	big, header := make([]byte, MaxEvent+1), strings.Repeat("x", MaxHeader)
	for name, err := range map[string]error{
		"data":    l.Emit(&Emit{Promise: 1, Event: Event{Data: big}}),
		"header":  l.Emit(&Emit{Promise: 1, Event: Event{Subject: header, Tracestate: header}}),
		"input":   l.Deliver(&Deliver{Input: big, HasInput: true}),
		"value":   l.Settle(&Settle{Ref: 1, Value: big}),
		"details": l.Settle(&Settle{Ref: 1, Err: &Error{Details: big}}),
		"message": l.Settle(&Settle{Ref: 1, Err: &Error{Message: header + "x"}}),
	} {
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := l.Emit(&Emit{Promise: 1, Event: Event{Data: big[1:]}}); err != nil {
		t.Errorf("the largest allowed: %v", err)
	}
}

// Over a connection that is not a socket, as tests have it.
func TestLaneOverAPipe(t *testing.T) {
	a, b := net.Pipe()
	l, peer := NewLane(a), NewLane(b)
	got := make(chan uint64, 1)
	ends := make(chan error, 2)
	go func() {
		ends <- peer.Run(t.Context(), Handler{Accept: func(p uint64) error { got <- p; return nil }})
	}()
	go func() { ends <- l.Run(t.Context(), Handler{}) }()
	if err := l.Accept(7); err != nil {
		t.Fatal(err)
	}
	l.Flush()
	if p := <-got; p != 7 {
		t.Errorf("%d", p)
	}
	l.Close()
	for range 2 {
		if err := end(t, ends); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	}
}

// idle waits until the writer has nothing to do.
func idle(t *testing.T, l *Lane) {
	t.Helper()
	for end := time.Now().Add(patience); !l.idle.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the writer does not rest")
		}
	}
}

// What is put waits for Flush or Wake, and with Hold everything does.
func TestHeld(t *testing.T) {
	l, peer, _ := runLane(t, Handler{})
	quiet := func(when string) {
		t.Helper()
		peer.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, err := peer.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%s: %d bytes, %v", when, n, err)
		}
		peer.SetReadDeadline(time.Now().Add(patience))
	}
	r := frame.NewReader(peer, MaxFrame, nil)
	came := func(want int) {
		t.Helper()
		body, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		f := &pb.Frame{}
		if err := proto.Unmarshal(body, f); err != nil {
			t.Fatal(err)
		}
		if n := len(f.Accept) + len(f.Settle) + len(f.Credit); n != want {
			t.Errorf("%d elements, want %d", n, want)
		}
	}
	idle(t, l)
	_ = l.PutSettle(&Settle{Ref: 1})
	quiet("after Put")
	_ = l.PutCredit(1, 1)
	l.Wake()
	came(2)
	idle(t, l)
	_ = l.PutSettle(&Settle{Ref: 2})
	l.Flush()
	came(1)
	_ = l.Accept(3)
	came(1)
	idle(t, l)
	l.Hold()
	_ = l.Accept(4)
	_ = l.Settle(&Settle{Ref: 4})
	quiet("held")
	l.Flush()
	came(2)
	l.Flush() // nothing waits
	quiet("at the end")
}

// What the socket does not take at once is the writer's, and stays in order.
func TestFlushOfMuch(t *testing.T) {
	l, peer, _ := runLane(t, Handler{})
	if err := l.conn.(*net.UnixConn).SetWriteBuffer(8 << 10); err != nil { // so that a frame goes in parts
		t.Fatal(err)
	}
	idle(t, l)
	l.Hold()
	const n = 300
	value := make([]byte, 20_000)
	var wait sync.WaitGroup
	for g := range uint32(3) { // they flush at the same time
		wait.Go(func() {
			for i := range uint64(n) {
				if err := l.Settle(&Settle{Ref: i + 1, Attempt: g + 1, Value: value}); err != nil {
					t.Error(err)
				}
				l.Flush()
			}
		})
	}
	wait.Wait() // nobody reads: the socket is full in the middle of a frame
	last := map[uint32]uint64{}
	r := frame.NewReader(peer, MaxFrame, nil)
	for got := 0; got < 3*n; {
		body, err := r.Next()
		if err != nil {
			t.Fatalf("%v after %d", err, got)
		}
		f := &pb.Frame{}
		if err := proto.Unmarshal(body, f); err != nil {
			t.Fatal(err)
		}
		for _, s := range f.Settle {
			if s.Ref != last[s.Attempt]+1 || len(s.Value) != len(value) {
				t.Fatalf("%d after %d, %d bytes", s.Ref, last[s.Attempt], len(s.Value))
			}
			last[s.Attempt] = s.Ref
			got++
		}
	}
}

// Close writes what was held.
func TestCloseOfAHeldLane(t *testing.T) {
	l, peer, ended := runLane(t, Handler{})
	idle(t, l)
	l.Hold()
	_ = l.Accept(1)
	_ = l.Close()
	if b, err := io.ReadAll(peer); err != nil || len(b) == 0 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if err := end(t, ended); err != nil {
		t.Error(err)
	}
}

// Frames that arrive together are one batch, and each is a batch where none
// follows.
func TestLaneBatches(t *testing.T) {
	ours, theirs := net.Pipe()
	batches := make(chan int, 10)
	settles := 0
	ended := make(chan error, 1)
	go func() {
		ended <- NewLane(ours).Run(t.Context(), Handler{
			Settle: func(*Settle) error { settles++; return nil },
			Batch:  func() error { batches <- settles; return nil },
		})
	}()
	f := []byte{4, 4<<3 | 2, 2, 1 << 3, 7} // a frame with one settle
	for i, n := range []int{1, 3, 2} {
		if _, err := theirs.Write(bytes.Repeat(f, n)); err != nil {
			t.Fatal(err)
		}
		if got, want := <-batches, []int{1, 4, 6}[i]; got != want {
			t.Errorf("after %d frames at once: %d settles in the batch's end, not %d", n, got, want)
		}
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(batches) > 0 {
		t.Error("a batch of nothing")
	}
}

// Package wire is the contract between host and a plugin process, and both its
// ends: README.md beside this file is the page for authors in other languages.
// This package has the events and the lane that carries them; rpc has the
// control plane and descriptor the sockets and files.
package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pluginhost/host/sdk/wire/internal/frame"
)

// What a plugin process inherits besides the standard descriptors.
const (
	LaneFD       = 3 // the lane
	DescriptorFD = 4 // the socket over which other descriptors come
)

// Limits of the lane.
const (
	MaxFrame   = 16 << 20 // bytes of one frame
	MaxEvent   = 4 << 20  // bytes of one event's data, value, input or error details
	MaxHeader  = 64 << 10 // bytes of all other fields of one element together
	EmitWindow = 1024     // emits of a lane that may wait for their Accept
	MaxToken   = 64       // bytes of a token

	// MaxBacklog is how many bytes may wait for a peer that does not read
	// before the lane fails: 64 of the largest deliveries and a frame.
	MaxBacklog = 64*MaxEvent + MaxFrame
)

const (
	closeGrace = time.Second // to write what is queued after Close
	crowded    = 8 << 20     // bytes waiting from which on Room waits

	// socketBuffer is how many bytes the kernel may hold for the peer. With its
	// own 208 KiB, both ends change places for each three large frames.
	socketBuffer = 1 << 20
)

// Reasons why an element is not sent.
var (
	ErrTooLarge = errors.New("larger than the lane allows: 4 MiB of data and 64 KiB of everything else")
	ErrClosed   = errors.New("the lane is closed")
	ErrBacklog  = errors.New("the peer does not read its lane: too much waits for it")
)

// ProtocolError says how the peer broke the contract of the lane.
type ProtocolError struct{ What string }

func (e *ProtocolError) Error() string { return e.What }

// Handler takes what a lane reads, in the order of the bytes. A nil function
// means that the peer may not send that kind: Run then fails. Pointers are valid
// during the call only, the byte slices behind them until Batch returns, but
// for Lane.Keep; strings and Settle.Err may be kept. An error ends Run. The functions must not
// block: a blocked reader blocks the peer.
type Handler struct {
	Emit    func(*Emit) error
	Accept  func(promise uint64) error
	Deliver func(*Deliver) error
	Settle  func(*Settle) error
	Credit  func(instance, n uint32) error
	Cancel  func(delivery uint64, attempt uint32, why Cause) error
	Detach  func(promise, delivery uint64, attempt uint32) error
	// Withdraw says that nobody waits for a promise of an instance any more.
	Withdraw func(promise uint64, instance uint32) error
	Batch    func() error // after each frame that none follows at once; may be nil
	Rest     func()       // before the reader waits for the peer, perhaps more often; may be nil
	// Loop, where it is set, does the reading: each call of next reads until
	// after a Batch. It ends with the first error of next, which it returns. Any
	// goroutine may call next, one at a time, and only what is called in it may
	// not block.
	Loop func(next func() error) error
}

// Lane is one end of the stream that carries events between host and a plugin
// process. The sending methods append to a buffer that a writer flushes
// whenever it is free; they never wait for the peer and may be called from any
// goroutine, also before Run. What one goroutine sends arrives in its order,
// but for credits, which may arrive later than what was sent after them.
//
// Who knows when nothing follows for now saves the change to the writer: the
// methods called Put append and do no more, until Flush, which writes from the
// goroutine that calls it, or Wake, which wakes the writer. After Hold all
// methods do no more.
type Lane struct {
	conn   net.Conn
	direct *frame.Direct // writes without waiting; owned by who set writing; nil where nothing can
	wake   chan struct{} // to the writer; a place for one
	ended  chan struct{} // closed when nothing is sent any more
	unused sync.Once     // closes ended
	held   atomic.Bool   // Hold was called
	idle   atomic.Bool   // the writer waits for wake
	reader *frame.Reader // of who reads
	pool   *Pool         // of its buffers; nil for its own

	mu      sync.Mutex
	pending queue
	running bool
	writing bool           // somebody writes frames that were taken from pending
	flushed []*frame.Frame // taken by Flush; owned by who set writing
	left    []*frame.Frame // taken and not written: for the writer, which then owns writing
	closing bool           // Close was called
	taken   uint64         // how often pending was taken, from 1
	asked   uint64         // taken when Waits was asked last and something waited
	err     error          // why sending fails; nil while it works
	room    chan struct{}  // closed when there is room again; nil when nobody waits
}

// NewLane returns a lane over conn, which it owns. Nothing starts before Run.
func NewLane(conn net.Conn) *Lane {
	l := &Lane{conn: conn, direct: frame.NewDirect(conn), wake: make(chan struct{}, 1), ended: make(chan struct{}), taken: 1}
	if c, ok := conn.(interface{ SetWriteBuffer(int) error }); ok {
		_ = c.SetWriteBuffer(socketBuffer) // the kernel gives what net.core.wmem_max allows
	}
	return l
}

// Hold makes what is sent from now on wait for a Flush.
func (l *Lane) Hold() {
	l.held.Store(true)
}

// Run reads frames into h and writes what is sent until ctx ends (its error),
// the peer or Close closes the lane (nil), the peer breaks the contract (a
// *ProtocolError) or does not read (ErrBacklog), or h returns an error. It
// closes the connection and returns when the writer has stopped. It runs once.
func (l *Lane) Run(ctx context.Context, h Handler) error {
	l.mu.Lock()
	if l.running || l.err != nil {
		defer l.mu.Unlock()
		if l.running {
			return errors.New("the lane runs already")
		}
		return nil
	}
	l.running = true
	l.mu.Unlock()

	written := make(chan struct{})
	go func() {
		defer close(written)
		l.write()
	}()
	stop := context.AfterFunc(ctx, func() { _ = l.conn.Close() })
	err := l.read(&h)
	stop()
	l.fail(ErrClosed)
	_ = l.conn.Close()
	<-written
	switch {
	case errors.Is(l.failure(), ErrBacklog):
		return ErrBacklog
	case err == nil && ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

// Close ends Run after what is queued has been written, within a second. It
// does not wait for that.
func (l *Lane) Close() error {
	l.mu.Lock()
	over := l.closing || l.err != nil
	l.closing = true
	running := l.running
	l.mu.Unlock()
	if over {
		return nil
	}
	if !running {
		l.fail(ErrClosed)
		return l.conn.Close()
	}
	err := l.conn.SetWriteDeadline(time.Now().Add(closeGrace))
	l.ring()
	return err
}

// Emit queues an emit. It fails with ErrTooLarge, ErrClosed or ErrBacklog, as
// all do.
func (l *Lane) Emit(e *Emit) error { return l.and(l.PutEmit(e)) }

// PutEmit is Emit, but waits for Flush or Wake, as all that are called Put do.
func (l *Lane) PutEmit(e *Emit) error {
	if !e.Event.clean() {
		c := *e
		c.Event.scrub()
		e = &c
	}
	event, err := e.Event.size()
	if err != nil {
		return err
	}
	size := sizeEmit(e, event)
	f, err := l.begin(size)
	if err != nil {
		return err
	}
	f.Bytes = appendEmit(f.Bytes, e, size, event)
	l.end()
	return nil
}

// Accept queues an accept of a promise.
func (l *Lane) Accept(promise uint64) error { return l.and(l.putAccept(promise)) }

func (l *Lane) putAccept(promise uint64) error {
	f, err := l.begin(smallElement)
	if err != nil {
		return err
	}
	f.Bytes = appendAccept(f.Bytes, promise)
	l.end()
	return nil
}

// Deliver queues a delivery.
func (l *Lane) Deliver(d *Deliver) error { return l.and(l.putDeliver(d)) }

func (l *Lane) putDeliver(d *Deliver) error {
	if !d.Event.clean() {
		c := *d
		c.Event.scrub()
		d = &c
	}
	event, err := d.Event.size()
	if err != nil {
		return err
	}
	if len(d.Input) > MaxEvent {
		return ErrTooLarge
	}
	size := sizeDeliver(d, event)
	f, err := l.begin(size)
	if err != nil {
		return err
	}
	f.Bytes = appendDeliver(f.Bytes, d, size, event)
	l.end()
	return nil
}

// Settle queues a settle.
func (l *Lane) Settle(s *Settle) error { return l.and(l.PutSettle(s)) }

// PutSettle queues a settle for Flush or Wake.
func (l *Lane) PutSettle(s *Settle) error {
	if s.Err != nil && !s.Err.clean() {
		c := *s
		c.Err = s.Err.scrubbed()
		s = &c
	}
	var rejected int
	if s.Err != nil {
		var err error
		if rejected, err = s.Err.size(); err != nil {
			return err
		}
	}
	if len(s.Value) > MaxEvent || len(s.Token) > MaxToken {
		return ErrTooLarge
	}
	size := sizeSettle(s, rejected)
	f, err := l.begin(size)
	if err != nil {
		return err
	}
	f.Bytes = appendSettle(f.Bytes, s, size, rejected)
	l.end()
	return nil
}

// Credit queues n more credits for an instance. Credits of one instance that
// wait to be written are summed.
func (l *Lane) Credit(instance, n uint32) error { return l.and(l.PutCredit(instance, n)) }

// PutCredit queues credits for Flush or Wake.
func (l *Lane) PutCredit(instance, n uint32) error {
	if _, err := l.begin(smallElement); err != nil {
		return err
	}
	l.pending.credit(instance, n)
	l.end()
	return nil
}

// Cancel queues a cancel.
func (l *Lane) Cancel(delivery uint64, attempt uint32, why Cause) error {
	return l.and(l.numbers(6, delivery, uint64(attempt), uint64(why)))
}

// Detach queues a detach of a delivery. Its token comes as the value of a promise.
func (l *Lane) Detach(promise, delivery uint64, attempt uint32) error {
	return l.and(l.numbers(7, promise, delivery, uint64(attempt)))
}

// Withdraw queues a withdraw of a promise.
func (l *Lane) Withdraw(promise uint64, instance uint32) error {
	return l.and(l.numbers(8, promise, uint64(instance), 0))
}

func (l *Lane) numbers(field byte, x, y, z uint64) error {
	f, err := l.begin(smallElement)
	if err != nil {
		return err
	}
	f.Bytes = appendNumbers(f.Bytes, field, x, y, z)
	l.end()
	return nil
}

// Room waits until less than 8 MiB waits to be written, so that a sender that
// may wait does not run into ErrBacklog. It fails when ctx ends or the lane.
func (l *Lane) Room(ctx context.Context) error {
	for {
		l.mu.Lock()
		if l.err != nil || l.closing {
			l.mu.Unlock()
			return ErrClosed
		}
		if l.pending.Bytes() < crowded {
			l.mu.Unlock()
			return nil
		}
		if l.room == nil {
			l.room = make(chan struct{})
		}
		room := l.room
		l.mu.Unlock()
		select {
		case <-room:
		case <-l.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begin locks the lane and returns the frame that takes an element of size
// bytes; end unlocks it. With an error the lane is not locked.
func (l *Lane) begin(size int) (*frame.Frame, error) {
	l.mu.Lock()
	switch {
	case l.err != nil:
		err := l.err
		l.mu.Unlock()
		return nil, err
	case l.closing:
		l.mu.Unlock()
		return nil, ErrClosed
	case l.pending.Bytes() > MaxBacklog:
		l.mu.Unlock()
		l.fail(ErrBacklog)
		_ = l.conn.Close()
		return nil, ErrBacklog
	}
	return l.pending.Place(size + smallElement), nil
}

func (l *Lane) end() {
	l.mu.Unlock()
}

// and wakes the writer after something was put, unless the lane is held.
func (l *Lane) and(err error) error {
	if err == nil && !l.held.Load() {
		l.Wake()
	}
	return err
}

// Wake has the writer send what was put.
func (l *Lane) Wake() {
	if l.idle.Load() && l.idle.CompareAndSwap(true, false) {
		l.ring()
	}
}

func (l *Lane) ring() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// fail makes all later sending fail. The first reason stays.
func (l *Lane) fail(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
	}
	l.mu.Unlock()
	l.unused.Do(func() { close(l.ended) })
}

func (l *Lane) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func protocolErrorf(format string, args ...any) error {
	return &ProtocolError{What: fmt.Sprintf(format, args...)}
}

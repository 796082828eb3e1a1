package wire

import (
	"context"
	"net"
)

// Limits of the lane.
const (
	MaxFrame   = 16 << 20 // bytes of one frame
	MaxEvent   = 4 << 20  // bytes of one event's data, value or input
	EmitWindow = 1024     // emits of a lane that may wait for their Accept
)

// Handler takes what a lane reads. A nil function means that the peer may not
// send that kind: Run then fails. Pointers and the byte slices in them are
// valid during the call only. An error ends Run. The functions must not block:
// a blocked reader blocks the peer.
type Handler struct {
	Emit    func(*Emit) error
	Accept  func(promise uint64) error
	Deliver func(*Deliver) error
	Settle  func(*Settle) error
	Credit  func(instance, n uint32) error
	Cancel  func(delivery uint64, attempt uint32) error
	Batch   func() // after each frame; may be nil
}

// Lane is one end of the stream that carries events between host and a plugin
// process. The sending methods append to a buffer that a writer flushes as
// one frame whenever it is free; they never block on the peer for long and
// may be called from any goroutine.
type Lane struct {
	conn net.Conn
}

// NewLane returns a lane over conn, which it owns. Nothing starts before Run.
func NewLane(conn net.Conn) *Lane { return &Lane{conn: conn} }

// Run reads frames into h and writes what is sent until ctx ends, the peer
// closes (nil) or breaks the contract (a *ProtocolError). It closes conn.
func (l *Lane) Run(ctx context.Context, h Handler) error { panic("unfinished") }

// Close ends Run after what is queued has been written, within a second.
func (l *Lane) Close() error { panic("unfinished") }

// Emit queues an emit. It fails with ErrTooLarge or ErrClosed, as all do.
func (l *Lane) Emit(e *Emit) error { panic("unfinished") }

// Accept queues an accept of a promise.
func (l *Lane) Accept(promise uint64) error { panic("unfinished") }

// Deliver queues a delivery.
func (l *Lane) Deliver(d *Deliver) error { panic("unfinished") }

// Settle queues a settle.
func (l *Lane) Settle(s *Settle) error { panic("unfinished") }

// Credit queues n more credits for an instance; credits of one instance that
// wait in the buffer may be summed.
func (l *Lane) Credit(instance, n uint32) error { panic("unfinished") }

// Cancel queues a cancel.
func (l *Lane) Cancel(delivery uint64, attempt uint32) error { panic("unfinished") }

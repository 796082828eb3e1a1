package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/pluginhost/host/sdk/wire/internal/frame"
)

// batchBytes is what is read of frames that came together before Batch.
const batchBytes = 120 << 10

// errEnd is the end of a stream that ended well.
var errEnd = errors.New("the stream has ended")

// read hands what the peer sends to h until the stream ends.
func (l *Lane) read(h *Handler) error {
	r := frame.NewReader(frame.Source(l.conn, h.Rest), MaxFrame, l.pool)
	defer r.Close()
	l.reader = r
	d := decoder{handler: h}
	next := func() error { return batch(r, &d) }
	loop := h.Loop
	if loop == nil {
		loop = func(next func() error) error {
			for {
				if err := next(); err != nil {
					return err
				}
			}
		}
	}
	if err := loop(next); !errors.Is(err, errEnd) {
		return err
	}
	return nil
}

// Keep returns b, or a copy, for good: it is never written again. b must have
// come with the call of the Handler that calls Keep. It costs no copy mostly,
// but whoever holds a part of b then holds 256 KiB that came with it.
func (l *Lane) Keep(b []byte) []byte {
	if len(b) > 0 && l.reader != nil && l.reader.Keep() {
		return b[:len(b):len(b)]
	}
	return bytes.Clone(b)
}

// Pool has buffers that lanes read into and share with those who hold what was
// read.
type Pool = frame.Pool

// NewPool returns a pool of which at most so many bytes are held. Where more
// would be, Lane.Borrow gives nothing.
func NewPool(bytes int) *Pool { return frame.NewPool(bytes) }

// Chunk is a buffer that a lane has read into. Its Release, from any goroutine,
// ends one Borrow: who reads what stands there later reads something else.
type Chunk = frame.Chunk

// ReadInto has the lane read into buffers of a pool. It comes before Run.
func (l *Lane) ReadInto(p *Pool) { l.pool = p }

// Borrow keeps what came with the call of the Handler that calls Borrow valid
// until the chunk is released. Nil means that the caller must copy it. Whoever holds a
// part of a chunk holds 256 KiB.
func (l *Lane) Borrow() *Chunk {
	if l.reader == nil {
		return nil
	}
	return l.reader.Borrow()
}

// batch hands on what has come, which may be several frames.
func batch(r *frame.Reader, d *decoder) error {
	for size := 0; ; {
		body, err := r.Next()
		if err != nil {
			var m *frame.Malformed
			switch {
			case errors.As(err, &m):
				return &ProtocolError{What: m.What}
			case closed(err):
				return errEnd
			}
			return err
		}
		if err := d.frame(body); err != nil {
			return err
		}
		if size += len(body); size < batchBytes && r.More() {
			continue // what is there already goes along
		}
		if d.handler.Batch == nil {
			return nil
		}
		return d.handler.Batch()
	}
}

// closed reports whether an error of the connection means that one of the
// ends is closed. A peer that died in the middle of a frame did not break the
// contract either.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ECONNRESET)
}

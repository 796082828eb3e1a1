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
const batchBytes = 64 << 10

// errEnd is the end of a stream that ended well.
var errEnd = errors.New("the stream has ended")

// read hands what the peer sends to h until the stream ends.
func (l *Lane) read(h *Handler) error {
	r := frame.NewReader(frame.Source(l.conn, h.Rest), MaxFrame)
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
// but whoever holds a part of b then holds 128 KiB that came with it.
func (l *Lane) Keep(b []byte) []byte {
	if len(b) > 0 && l.reader != nil && l.reader.Keep() {
		return b[:len(b):len(b)]
	}
	return bytes.Clone(b)
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

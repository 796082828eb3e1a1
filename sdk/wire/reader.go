package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/pluginhost/host/sdk/wire/internal/frame"
)

// read hands what the peer sends to h until the stream ends.
func (l *Lane) read(h *Handler) error {
	r := frame.NewReader(frame.Source(l.conn), MaxFrame)
	d := decoder{handler: h}
	for {
		body, err := r.Next()
		if err != nil {
			var m *frame.Malformed
			switch {
			case errors.As(err, &m):
				return &ProtocolError{What: m.What}
			case closed(err):
				return nil
			}
			return err
		}
		if err := d.frame(body); err != nil {
			return err
		}
		if h.Batch != nil {
			if err := h.Batch(); err != nil {
				return err
			}
		}
	}
}

// closed reports whether an error of the connection means that one of the
// ends is closed. A peer that died in the middle of a frame did not break the
// contract either.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ECONNRESET)
}

package wire

import (
	"errors"
	"runtime"
	"slices"
	"syscall"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	headerRoom   = 4         // bytes of the length of the largest frame
	fullFrame    = 64 << 10  // bytes at which a frame takes no further element
	keptFrame    = 128 << 10 // bytes of capacity up to which a frame is used again
	keptFrames   = 8         // frames kept to be used again
	smallElement = 2 + 3*11  // bytes of the largest accept or element of numbers
	maxCredits   = 64        // instances whose waiting credits are summed
)

// frame is a frame being filled.
type frame struct {
	b       []byte // room for the length, then the body
	counted int    // bytes counted in the queue
}

// sealed writes the length before the body and returns both.
func (f *frame) sealed() []byte {
	body := uint64(len(f.b) - headerRoom)
	start := headerRoom - protowire.SizeVarint(body)
	protowire.AppendVarint(f.b[start:start], body)
	return f.b[start:]
}

// queue is what waits to be written. Frames are of moderate size, so that the
// peer begins to read the first while the next is filled, and so that growing
// never copies much.
type queue struct {
	frames  []*frame
	bytes   int // about; those being written included
	credits []waitingCredit
	free    []*frame
}

type waitingCredit struct{ instance, n uint32 }

// frame returns the frame that takes an element with a body of size bytes.
func (q *queue) frame(size int) *frame {
	var f *frame
	if n := len(q.frames); n > 0 && len(q.frames[n-1].b)+size <= fullFrame {
		f = q.frames[n-1]
	} else {
		if n := len(q.free); n > 0 {
			f, q.free = q.free[n-1], q.free[:n-1]
		} else {
			f = &frame{b: make([]byte, headerRoom, 4<<10)}
		}
		q.frames = append(q.frames, f)
	}
	size += smallElement // tag and length, with room to spare
	f.b = slices.Grow(f.b, size)
	f.counted += size
	q.bytes += size
	return f
}

// credit adds to the credits that wait.
func (q *queue) credit(instance, n uint32) {
	for i := range q.credits {
		if c := &q.credits[i]; c.instance == instance && c.n+n >= n {
			c.n += n
			return
		}
	}
	if len(q.credits) == maxCredits {
		q.appendCredits()
	}
	q.credits = append(q.credits, waitingCredit{instance, n})
}

// appendCredits ends the waiting of credits. There is a frame: asking for a
// place for the credit made one.
func (q *queue) appendCredits() {
	f := q.frames[len(q.frames)-1]
	for _, c := range q.credits {
		f.b = appendNumbers(f.b, 5, uint64(c.instance), uint64(c.n), 0)
	}
	q.credits = q.credits[:0]
}

// take empties the queue into the given slice.
func (q *queue) take(into []*frame) []*frame {
	if len(q.credits) > 0 {
		q.appendCredits()
	}
	into = append(into[:0], q.frames...)
	clear(q.frames)
	q.frames = q.frames[:0]
	return into
}

// written takes frames back.
func (q *queue) written(frames []*frame) {
	for i, f := range frames {
		q.bytes -= f.counted
		if cap(f.b) <= keptFrame && len(q.free) < keptFrames {
			f.b, f.counted = f.b[:headerRoom], 0
			q.free = append(q.free, f)
		}
		frames[i] = nil
	}
}

// write writes what is queued until the lane fails or is closed.
func (l *Lane) write() {
	var frames []*frame
	for {
		l.mu.Lock()
		for len(l.pending.frames) == 0 && l.err == nil && !l.closing {
			l.idle = true
			l.mu.Unlock()
			select {
			case <-l.wake:
				// Whoever is about to send more goes first: fewer, larger
				// frames at no delay where there is nobody.
				runtime.Gosched()
			case <-l.ended:
			}
			l.mu.Lock()
		}
		if l.err != nil {
			l.mu.Unlock()
			return
		}
		if len(l.pending.frames) == 0 {
			l.mu.Unlock()
			_ = l.conn.Close() // closing, and everything is written
			return
		}
		frames = l.pending.take(frames)
		l.mu.Unlock()

		for _, f := range frames {
			if _, err := l.conn.Write(f.sealed()); err != nil {
				l.unwritable(err)
				return
			}
		}

		l.mu.Lock()
		l.pending.written(frames)
		if l.room != nil && l.pending.bytes < crowded {
			close(l.room)
			l.room = nil
		}
		l.mu.Unlock()
	}
}

// unwritable ends sending. A peer that closed its end may have left something
// to read; nothing else is worth waiting for.
func (l *Lane) unwritable(err error) {
	l.fail(ErrClosed)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		_ = l.conn.SetReadDeadline(time.Now().Add(closeGrace))
		return
	}
	_ = l.conn.Close()
}

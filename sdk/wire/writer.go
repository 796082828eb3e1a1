package wire

import (
	"errors"
	"net"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	headerRoom   = 4         // bytes of the length of the largest frame
	fullFrame    = 64 << 10  // bytes at which a frame takes no further element
	keptFrame    = 128 << 10 // bytes of capacity up to which a frame is used again
	shortWrite   = 64 << 10  // bytes up to which Flush writes by itself
	smallElement = 2 + 3*11  // bytes of the largest accept or element of numbers
	maxCredits   = 64        // instances whose waiting credits are summed
)

// frame is a frame being filled.
type frame struct {
	b       []byte // room for the length, then the body
	rest    []byte // of a frame that was written in part, what is left
	counted int    // bytes counted in the queue
}

// sealed writes the length before the body and returns both, or what is left
// of them.
func (f *frame) sealed() []byte {
	if f.rest != nil {
		return f.rest
	}
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
	free    sync.Pool // of *frame
}

type waitingCredit struct{ instance, n uint32 }

// frame returns the frame that takes an element with a body of size bytes.
func (q *queue) frame(size int) *frame {
	var f *frame
	if n := len(q.frames); n > 0 && len(q.frames[n-1].b)+size <= fullFrame {
		f = q.frames[n-1]
	} else {
		if f, _ = q.free.Get().(*frame); f == nil {
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
		if cap(f.b) <= keptFrame {
			f.b, f.rest, f.counted = f.b[:headerRoom], nil, 0
			q.free.Put(f)
		}
		frames[i] = nil
	}
}

// write writes what is queued until the lane fails or is closed.
func (l *Lane) write() {
	var frames []*frame
	l.mu.Lock()
	for {
		for l.err == nil && l.left == nil && (l.writing || len(l.pending.frames) == 0 && !l.closing) {
			l.idle.Store(true)
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
		l.idle.Store(false)
		switch {
		case l.err != nil:
			l.mu.Unlock()
			return
		case l.left != nil:
			frames, l.left = append(frames[:0], l.left...), nil
		case len(l.pending.frames) == 0:
			l.mu.Unlock()
			_ = l.conn.Close() // closing, and everything is written
			return
		default:
			frames = l.pending.take(frames)
		}
		l.writing = true
		l.mu.Unlock()

		for _, f := range frames {
			if _, err := l.conn.Write(f.sealed()); err != nil {
				l.unwritable(err)
				return
			}
		}

		l.mu.Lock()
		l.writing = false
		l.written(frames)
	}
}

// Flush writes what waits, from this goroutine and as far as the socket takes
// it at once; the writer does the rest. It does not block.
func (l *Lane) Flush() {
	l.mu.Lock()
	if len(l.pending.frames) == 0 || l.writing || l.err != nil {
		l.mu.Unlock() // who writes looks again
		return
	}
	if !l.running || !l.direct.can() || l.pending.bytes > shortWrite {
		l.mu.Unlock()
		l.Wake()
		return
	}
	l.writing = true
	l.direct.frames = l.pending.take(l.direct.frames)
	frames := l.direct.frames
	l.mu.Unlock()

	done := 0
	for done < len(frames) && l.direct.write(frames[done]) {
		done++
	}

	l.mu.Lock()
	l.written(frames[:done])
	l.writing = false
	if done < len(frames) {
		l.writing = true
		l.left = append([]*frame(nil), frames[done:]...)
	}
	more := l.left != nil || len(l.pending.frames) > 0 || l.closing
	l.mu.Unlock()
	if more {
		l.Wake()
	}
}

// written takes back frames that were written. The lane is locked.
func (l *Lane) written(frames []*frame) {
	l.pending.written(frames)
	if l.room != nil && l.pending.bytes < crowded {
		close(l.room)
		l.room = nil
	}
}

// direct writes to a connection's descriptor without waiting.
type direct struct {
	raw    syscall.RawConn // nil where there is none
	frames []*frame        // being written
	rest   []byte          // of a frame
	call   func(fd uintptr) bool
}

func (d *direct) open(conn net.Conn) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	d.raw = raw
	d.call = func(fd uintptr) bool {
		for len(d.rest) > 0 {
			n, err := unix.Write(int(fd), d.rest)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || n <= 0 {
				break // full, or broken: the writer will see which
			}
			d.rest = d.rest[n:]
		}
		return true
	}
}

func (d *direct) can() bool { return d.raw != nil }

// write reports whether the whole frame was written. If not, what is left of it
// is for the writer.
func (d *direct) write(f *frame) bool {
	d.rest = f.sealed()
	err := d.raw.Write(d.call)
	f.rest, d.rest = d.rest, nil
	return err == nil && len(f.rest) == 0
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

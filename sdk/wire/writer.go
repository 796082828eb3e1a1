package wire

import (
	"errors"
	"runtime"
	"syscall"
	"time"

	"github.com/pluginhost/host/sdk/wire/internal/frame"
)

const (
	shortWrite   = 512 << 10 // bytes up to which Flush writes by itself: what a read brings, and what is added to it
	smallElement = 2 + 3*11  // bytes of the largest accept or element of numbers; tag and length of any, with room to spare
	maxCredits   = 64        // instances whose waiting credits are summed
	worthy       = 60 << 10  // bytes that are worth a write of their own: a frame, nearly
)

// queue is what waits to be written.
type queue struct {
	frame.Queue
	credits []waitingCredit
}

type waitingCredit struct{ instance, n uint32 }

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
	f := q.Last()
	for _, c := range q.credits {
		f.Bytes = appendNumbers(f.Bytes, 5, uint64(c.instance), uint64(c.n), 0)
	}
	q.credits = q.credits[:0]
}

// Take empties the queue, credits and all, into the given slice.
func (q *queue) Take(into []*frame.Frame) []*frame.Frame {
	if len(q.credits) > 0 {
		q.appendCredits()
	}
	return q.Queue.Take(into)
}

// write writes what is queued until the lane fails or is closed.
func (l *Lane) write() {
	var frames []*frame.Frame
	l.mu.Lock()
	for {
		for l.err == nil && l.left == nil && (l.writing || l.pending.Empty() && !l.closing) {
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
		case l.pending.Empty():
			l.mu.Unlock()
			_ = l.conn.Close() // closing, and everything is written
			return
		default:
			frames = l.pending.Take(frames)
			l.taken++
		}
		l.writing = true
		l.mu.Unlock()

		for _, f := range frames {
			if _, err := l.conn.Write(f.Sealed()); err != nil {
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
	if l.pending.Empty() || l.writing || l.err != nil {
		l.mu.Unlock() // who writes looks again
		return
	}
	if !l.running || l.direct == nil || l.pending.Bytes() > shortWrite {
		l.mu.Unlock()
		l.Wake()
		return
	}
	l.writing = true
	l.flushed = l.pending.Take(l.flushed)
	l.taken++
	frames := l.flushed
	l.mu.Unlock()

	done := 0
	for done < len(frames) && l.direct.Write(frames[done]) {
		done++
	}

	l.mu.Lock()
	l.written(frames[:done])
	l.writing = false
	if done < len(frames) {
		l.writing = true
		l.left = append([]*frame.Frame(nil), frames[done:]...)
	}
	more := l.left != nil || !l.pending.Empty() || l.closing
	l.mu.Unlock()
	if more {
		l.Wake()
	}
}

// Ripe writes as Flush does when much waits, and else leaves it to a Flush that
// will follow.
func (l *Lane) Ripe() {
	l.mu.Lock()
	ripe := l.pending.Bytes() >= worthy
	l.mu.Unlock()
	if ripe {
		l.Flush()
	}
}

// Nudge wakes the writer when something waits.
func (l *Lane) Nudge() {
	l.mu.Lock()
	waits := !l.pending.Empty() && !l.writing
	l.mu.Unlock()
	if waits {
		l.Wake()
	}
}

// Waits reports whether something waits for a Flush, and whether it did so when
// it was asked before.
func (l *Lane) Waits() (waits, still bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending.Empty() || l.writing {
		return false, false
	}
	still = l.asked == l.taken
	l.asked = l.taken
	return true, still
}

// written takes back frames that were written. The lane is locked.
func (l *Lane) written(frames []*frame.Frame) {
	l.pending.Written(frames)
	if l.room != nil && l.pending.Bytes() < crowded {
		close(l.room)
		l.room = nil
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

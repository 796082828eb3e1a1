package observe

import (
	"context"
	"sync"
	"time"
)

// chunk is how many entries a tail copies at a time, so that a Record waits
// for no more than a short copy.
const chunk = 128

// Recorder keeps the last entries in a bounded ring and passes new ones to
// whoever tails. It never makes a writer wait for a reader: a reader has a
// place in the ring, and what is overwritten before it came there is missed.
type Recorder struct {
	mu    sync.Mutex
	ring  []Entry
	next  uint64                     // Seq of the next entry; entries are numbered from 1
	at    int                        // its place: next modulo the size
	tails map[chan struct{}]struct{} // one per reader, with room for one value
}

// NewRecorder returns a recorder of the last n entries, at least one.
func NewRecorder(n int) *Recorder {
	return &Recorder{
		ring:  make([]Entry, max(n, 1)),
		next:  1,
		at:    1 % max(n, 1),
		tails: map[chan struct{}]struct{}{},
	}
}

// Record stores an entry and sets its Seq. It never blocks; e is copied, but
// not what its Err points to, which must not change any more.
func (r *Recorder) Record(e *Entry) {
	r.Begin()
	slot := r.Next()
	seq := slot.Seq
	*slot = *e
	slot.Seq = seq
	r.End()
}

// Begin makes room for several entries that belong together; End lets readers
// at them. Nobody else records in between.
func (r *Recorder) Begin() { r.mu.Lock() }

// Next returns the place of the next entry, empty but for its Seq, between Begin
// and End.
func (r *Recorder) Next() *Entry {
	slot := &r.ring[r.at]
	if r.at++; r.at == len(r.ring) {
		r.at = 0
	}
	*slot = Entry{Seq: r.next}
	r.next++
	return slot
}

// End tells the readers.
func (r *Recorder) End() {
	for c := range r.tails {
		select {
		case c <- struct{}{}:
		default: // it has been told and has not looked yet
		}
	}
	r.mu.Unlock()
}

// Tail calls f with up to backlog recent entries that match, then with new
// ones until ctx ends or f fails; it returns ctx's error or f's. A nil match
// takes all. match and f are called from Tail's goroutine and may be slow. A
// reader that is too slow misses entries; f then gets one entry whose Step is
// Missed and whose Attempt is their number, matching or not.
func (r *Recorder) Tail(ctx context.Context, backlog int, match func(*Entry) bool, f func(Entry) error) error {
	if match == nil {
		match = func(*Entry) bool { return true }
	}
	told := make(chan struct{}, 1)
	r.mu.Lock()
	r.tails[told] = struct{}{}
	now := r.next
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.tails, told)
		r.mu.Unlock()
	}()
	buf := make([]Entry, 0, chunk)
	for _, e := range r.recent(now, backlog, match, buf) {
		if err := f(e); err != nil {
			return err
		}
	}
	for at := now; ; {
		var missed uint64
		buf, missed = r.read(buf[:0], at, ^uint64(0))
		at += missed + uint64(len(buf))
		if missed > 0 {
			e := Entry{Time: time.Now(), Step: Missed, Attempt: uint32(min(missed, 1<<32-1))}
			if err := f(e); err != nil {
				return err
			}
		}
		for i := range buf {
			if !match(&buf[i]) {
				continue
			}
			if err := f(buf[i]); err != nil {
				return err
			}
		}
		if len(buf) > 0 && ctx.Err() == nil {
			continue
		}
		select {
		case <-told:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// recent returns the last n matching entries before end. What is overwritten
// while it looks is old, and no reader was promised it.
func (r *Recorder) recent(end uint64, n int, match func(*Entry) bool, buf []Entry) []Entry {
	if n <= 0 {
		return nil
	}
	var found []Entry
	for at := uint64(1); at < end; {
		var missed uint64
		buf, missed = r.read(buf[:0], at, end)
		at += missed + uint64(len(buf))
		for i := range buf {
			if !match(&buf[i]) {
				continue
			}
			if len(found) == 2*n { // drop the older half now and then
				found = append(found[:0], found[n:]...)
			}
			found = append(found, buf[i])
		}
	}
	return found[max(0, len(found)-n):]
}

// read appends entries from number at on, before end, as far as buf has room,
// and says how many from at on are overwritten already.
func (r *Recorder) read(buf []Entry, at, end uint64) (_ []Entry, missed uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := uint64(len(r.ring))
	if r.next > size && at < r.next-size {
		missed = r.next - size - at
		at += missed
	}
	for ; at < min(r.next, end) && len(buf) < cap(buf); at++ {
		buf = append(buf, r.ring[at%size])
	}
	return buf, missed
}

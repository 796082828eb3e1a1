package frame

import (
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	readBuffer = 256 << 10 // bytes of the reader's buffer unless a frame is larger
	readLeast  = 16 << 10  // bytes of a buffer that are worth a read, where the rest was kept
	calmFrames = 64        // frames that fit into readBuffer before a larger one is given back
)

// Malformed says why what is read is no frame.
type Malformed struct{ What string }

func (e *Malformed) Error() string { return e.What }

// Reader cuts a stream into frames.
type Reader struct {
	src        io.Reader
	max        int // bytes of a body
	buf        []byte
	pool       *Pool  // gives buf, or nil
	chunk      *Chunk // is buf, or nil where it is of this reader alone
	kept       int    // bytes at the beginning of buf that are somebody else's
	start, end int    // what of buf is read and not handed out
	keep       bool   // something that was handed out since the last read was kept
	calm       int    // frames since one larger than readBuffer
}

// NewReader returns a reader of src that takes bodies of up to max bytes. Its
// buffers are of a pool, unless that is nil. It has none before Next.
func NewReader(src io.Reader, max int, pool *Pool) *Reader {
	return &Reader{src: src, max: max, pool: pool}
}

// Close gives the buffer back.
func (r *Reader) Close() { r.own(nil, nil) }

// Next returns the body of the next frame, valid until the next read. The error
// is a *Malformed or that of the stream.
func (r *Reader) Next() ([]byte, error) {
	for {
		body, size, err := r.cut()
		if body != nil || err != nil {
			return body, err
		}
		if err := r.fill(size); err != nil {
			return nil, err
		}
	}
}

// Keep reports whether what was handed out since the last read stays valid for
// good. Whoever holds a part of it holds all of a buffer, so that this is never
// one of a large frame.
func (r *Reader) Keep() bool {
	if len(r.buf) > readBuffer {
		return false
	}
	if r.chunk != nil {
		r.chunk.kept = true
	}
	r.keep = true
	return true
}

// Borrow returns the chunk that has what was handed out since the last read, for
// the caller to release, or nil where it is in none.
func (r *Reader) Borrow() *Chunk {
	if r.chunk != nil {
		r.keep = true
		r.chunk.hold()
	}
	return r.chunk
}

// More reports whether another frame is there completely.
func (r *Reader) More() bool {
	length, n := protowire.ConsumeVarint(r.buf[r.start:r.end])
	return n > 0 && length <= uint64(r.end-r.start-n)
}

// cut returns a frame that is there completely, or else how many bytes of the
// stream it takes, 0 when that is not known yet.
func (r *Reader) cut() ([]byte, int, error) {
	length, n := protowire.ConsumeVarint(r.buf[r.start:r.end])
	if n < 0 {
		if r.end-r.start >= 10 {
			return nil, 0, &Malformed{"the length of a frame is not a varint"}
		}
		return nil, 0, nil
	}
	if length > uint64(r.max) {
		return nil, 0, &Malformed{fmt.Sprintf("a frame of %d bytes; the largest allowed has %d", length, r.max)}
	}
	size := n + int(length)
	if r.end-r.start < size {
		return nil, size, nil
	}
	body := r.buf[r.start+n : r.start+size : r.start+size]
	r.start += size
	return body, size, nil
}

// fill reads more of a frame of size bytes. The buffer grows as bytes arrive,
// not as they are announced.
func (r *Reader) fill(size int) error {
	have := r.end - r.start
	if r.keep {
		r.kept, r.keep = r.start, false
	}
	if r.kept > 0 && r.chunk != nil && r.chunk.alone() {
		r.chunk.spoil(r.kept)
		r.kept = 0 // all of it was given back
	}
	if r.kept > 0 && max(have+readLeast, size) > len(r.buf)-r.kept {
		r.move(readBuffer) // the old one is theirs who keep it
	}
	if have == 0 {
		r.start, r.end = r.kept, r.kept
	}
	if r.kept == 0 {
		r.settleSize(size, have)
	}
	if r.start > r.kept && (r.end == len(r.buf) || r.start+size > len(r.buf)) {
		r.end = r.kept + copy(r.buf[r.kept:], r.buf[r.start:r.end])
		r.start = r.kept
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// settleSize makes the buffer larger when a frame fills it, and small again
// when frames have been small for a while.
func (r *Reader) settleSize(size, have int) {
	if size > readBuffer {
		r.calm = 0
	} else {
		r.calm++
	}
	want := len(r.buf)
	switch {
	case want == 0:
		want = readBuffer
	case have == len(r.buf):
		want *= 2
	case r.calm > calmFrames && have < readBuffer:
		want = readBuffer
	}
	if want != len(r.buf) || want == readBuffer && r.pool != nil && r.chunk == nil && r.pool.room() {
		r.move(want)
	}
}

// move goes on in another buffer.
func (r *Reader) move(size int) {
	var buf []byte
	var chunk *Chunk
	if r.pool != nil && size == readBuffer {
		chunk = r.pool.take()
	}
	if chunk != nil {
		buf = chunk.bytes
	} else {
		buf = make([]byte, size)
	}
	r.end = copy(buf, r.buf[r.start:r.end])
	r.start = 0
	r.own(buf, chunk)
}

// own changes the buffer.
func (r *Reader) own(buf []byte, chunk *Chunk) {
	if r.chunk != nil {
		r.chunk.Release()
	}
	r.kept, r.keep, r.buf, r.chunk = 0, false, buf, chunk
}

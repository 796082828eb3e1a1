package frame

import (
	"slices"
	"sync"
)

// Queue is what waits to be written. Frames are of moderate size, so that the
// peer begins to read the first while the next is filled, and so that growing
// never copies much. Its owner guards it with a lock.
type Queue struct {
	frames []*Frame
	bytes  int
	free   sync.Pool // of *Frame
}

// Empty reports whether nothing waits.
func (q *Queue) Empty() bool { return len(q.frames) == 0 }

// Bytes is how many bytes wait, about, those being written included.
func (q *Queue) Bytes() int { return q.bytes }

// Place returns the frame that takes an element of at most size bytes, and
// counts them.
func (q *Queue) Place(size int) *Frame {
	var f *Frame
	if n := len(q.frames); n > 0 && len(q.frames[n-1].Bytes)+size <= full {
		f = q.frames[n-1]
	} else {
		if f, _ = q.free.Get().(*Frame); f == nil {
			f = &Frame{Bytes: make([]byte, headerRoom, firstRoom)}
		}
		q.frames = append(q.frames, f)
	}
	f.Bytes = slices.Grow(f.Bytes, size)
	f.counted += size
	q.bytes += size
	return f
}

// Last is the frame that was begun last. There must be one.
func (q *Queue) Last() *Frame { return q.frames[len(q.frames)-1] }

// Take empties the queue into the given slice. The frames are then the
// caller's, until Written takes them back.
func (q *Queue) Take(into []*Frame) []*Frame {
	into = append(into[:0], q.frames...)
	clear(q.frames)
	q.frames = q.frames[:0]
	return into
}

// Written takes frames back.
func (q *Queue) Written(frames []*Frame) {
	for i, f := range frames {
		q.bytes -= f.counted
		if cap(f.Bytes) <= kept {
			f.Bytes, f.rest, f.counted = f.Bytes[:headerRoom], nil, 0
			q.free.Put(f)
		}
		frames[i] = nil
	}
}

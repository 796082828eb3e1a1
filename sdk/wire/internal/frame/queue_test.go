package frame

import (
	"bytes"
	"errors"
	"testing"
)

// Elements go into as few frames as their size allows, in their order, and what
// waits is counted until it is written.
func TestQueue(t *testing.T) {
	var (
		q      Queue
		frames []*Frame
		want   []byte
	)
	for round := range 3 { // frames are used again
		want = want[:0]
		for i := range 200 {
			element := bytes.Repeat([]byte{byte(i + round)}, 1000)
			f := q.Place(len(element))
			f.Bytes = append(f.Bytes, element...)
			if q.Last() != f {
				t.Fatal("the frame is not the last")
			}
			want = append(want, element...)
		}
		large := bytes.Repeat([]byte{1}, 1<<20)
		f := q.Place(len(large))
		f.Bytes = append(f.Bytes, large...)
		want = append(want, large...)

		frames = q.Take(frames)
		if len(frames) != 5 || !q.Empty() || q.Bytes() != len(want) {
			t.Fatalf("%d frames, empty %t, %d bytes of %d", len(frames), q.Empty(), q.Bytes(), len(want))
		}
		var stream []byte
		for _, f := range frames {
			stream = append(stream, f.Sealed()...)
		}
		q.Written(frames)
		if q.Bytes() != 0 {
			t.Errorf("%d bytes wait after they were written", q.Bytes())
		}
		r := NewReader(bytes.NewReader(stream), most, nil)
		var got []byte
		for {
			body, err := r.Next()
			if err != nil {
				break
			}
			got = append(got, body...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes of %d came, or others", len(got), len(want))
		}
	}
}

// A frame that may not be so large is told from the end of a stream.
func TestTooLarge(t *testing.T) {
	var q Queue
	f := q.Place(100)
	f.Bytes = append(f.Bytes, make([]byte, 100)...)
	var m *Malformed
	if _, err := NewReader(bytes.NewReader(f.Sealed()), 99, nil).Next(); !errors.As(err, &m) {
		t.Errorf("%v", err)
	}
	if body, err := NewReader(bytes.NewReader(f.Sealed()), 100, nil).Next(); err != nil || len(body) != 100 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

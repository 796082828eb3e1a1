package frame

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// most is how many bytes a frame of these tests may have.
const most = 16 << 20

// FuzzFrames: any cutting of any bytes into reads gives the same frames, and no
// buffer grows beyond what has arrived.
func FuzzFrames(f *testing.F) {
	var three []byte
	for _, n := range []int{0, 5, 300} {
		three = protowire.AppendVarint(three, uint64(n))
		three = append(three, make([]byte, n)...)
	}
	f.Add(three, uint16(1))
	f.Add(three, uint16(4096))
	f.Add([]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, uint16(3))
	f.Add(protowire.AppendVarint(nil, most+1), uint16(1))
	f.Add(protowire.AppendVarint(nil, most), uint16(9))
	f.Fuzz(func(t *testing.T, b []byte, step uint16) {
		want, wantErr := frames(t, b, len(b)+1)
		got, gotErr := frames(t, b, int(step)+1)
		if len(got) != len(want) || (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("%d frames, %v; in one read %d, %v", len(got), gotErr, len(want), wantErr)
		}
		kept := keeping(t, b, int(step)+1)
		if len(kept) != len(want) {
			t.Fatalf("%d frames of which some are kept, %d of which none is", len(kept), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) || !bytes.Equal(kept[i], want[i]) {
				t.Fatalf("frame %d differs", i)
			}
		}
	})
}

// Frames larger than the buffer, in reads of any size.
func TestLargeFrames(t *testing.T) {
	var b []byte
	for _, n := range []int{3, 70_000, 1 << 20, 0, 65_536, 5} {
		b = protowire.AppendVarint(b, uint64(n))
		b = append(b, bytes.Repeat([]byte{byte(n)}, n)...)
	}
	for _, step := range []int{1, 7, 4096, 65_536, len(b)} {
		got, err := frames(t, b, step)
		if err != nil || len(got) != 6 || len(got[2]) != 1<<20 || len(got[5]) != 5 {
			t.Errorf("%d bytes a read: %d frames, %v", step, len(got), err)
		}
	}
	// A large frame announced is not believed before it comes, nor after a part.
	for _, part := range []int{0, readBuffer} {
		came := append(protowire.AppendVarint(nil, most), make([]byte, part)...)
		r := NewReader(&chunks{came, 100}, most, nil)
		if _, err := r.Next(); !errors.Is(err, errEnd) || len(r.buf) > readBuffer+2*part {
			t.Errorf("%d bytes for an announcement and %d bytes, %v", len(r.buf), part, err)
		}
	}
}

// What was kept stays as it is, in buffers that are used up before the next is
// made, and a buffer of a large frame is not kept.
func TestKeep(t *testing.T) {
	var b []byte
	const n = 1000
	for i := range n {
		size := 4000 + i
		b = protowire.AppendVarint(b, uint64(size))
		b = append(b, bytes.Repeat([]byte{byte(i)}, size)...)
	}
	for _, step := range []int{1000, 4096, 65_536, len(b)} {
		r := NewReader(&chunks{b, step}, most, nil)
		var all [][]byte
		buffers, last := 0, (*byte)(nil)
		for range n {
			body, err := r.Next()
			if err != nil || !r.Keep() {
				t.Fatalf("frame %d: it is not kept, %v", len(all), err)
			}
			if first := &r.buf[0]; first != last {
				buffers, last = buffers+1, first
			}
			all = append(all, body)
		}
		for i, body := range all {
			if !bytes.Equal(body, bytes.Repeat([]byte{byte(i)}, 4000+i)) {
				t.Fatalf("%d bytes a read: frame %d has changed", step, i)
			}
		}
		if buffers > len(b)/(readBuffer-readLeast-5000)+1 {
			t.Errorf("%d bytes a read: %d buffers for %d bytes", step, buffers, len(b))
		}
	}
	large := append(protowire.AppendVarint(nil, 1<<20), make([]byte, 1<<20)...)
	r := NewReader(&chunks{large, len(large)}, most, nil)
	if _, err := r.Next(); err != nil || r.Keep() {
		t.Errorf("a buffer of %d bytes is kept, %v", len(r.buf), err)
	}
}

// chunks gives at most step bytes a read.
type chunks struct {
	b    []byte
	step int
}

// errEnd is the end of the bytes.
var errEnd = errors.New("the end")

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, errEnd
	}
	n := copy(p, c.b[:min(c.step, len(c.b))])
	c.b = c.b[n:]
	return n, nil
}

// frames cuts bytes into frames until their end (nil) or an error.
func frames(t *testing.T, b []byte, step int) (out [][]byte, err error) {
	r := NewReader(&chunks{b, step}, most, nil)
	for {
		body, err := r.Next()
		if err != nil {
			if errors.Is(err, errEnd) {
				return out, nil
			}
			return out, err
		}
		if len(r.buf) > 2*(len(b)+readBuffer) {
			t.Fatalf("a buffer of %d bytes for %d", len(r.buf), len(b))
		}
		out = append(out, bytes.Clone(body))
	}
}

// keeping cuts as frames does. Each third frame is kept, all others are copied.
func keeping(t *testing.T, b []byte, step int) (out [][]byte) {
	r := NewReader(&chunks{b, step}, most, nil)
	for {
		body, err := r.Next()
		if err != nil {
			return out
		}
		if len(out)%3 != 0 || !r.Keep() {
			body = bytes.Clone(body)
		}
		if len(r.buf) > 2*(len(b)+readBuffer) {
			t.Fatalf("a buffer of %d bytes for %d", len(r.buf), len(b))
		}
		out = append(out, body)
	}
}

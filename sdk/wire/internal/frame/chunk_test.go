package frame

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// poisoned has what is released overwritten for one test.
func poisoned(t *testing.T) {
	old := Poison
	Poison = true
	t.Cleanup(func() { Poison = old })
}

// What is borrowed stays as it is until it is released, in whatever order that
// comes; then it is overwritten. Chunks are used again, and no more than the
// pool has are held.
func TestBorrow(t *testing.T) {
	poisoned(t)
	const n, most = 3000, 4
	var b []byte
	for i := range n {
		size := 1 + i*7%6000
		b = protowire.AppendVarint(b, uint64(size))
		b = append(b, bytes.Repeat([]byte{byte(i)}, size)...)
	}
	type loan struct {
		n     int
		body  []byte
		chunk *Chunk
	}
	for _, step := range []int{1000, 4096, 65_536, len(b)} {
		rng := rand.New(rand.NewPCG(1, uint64(step)))
		p := NewPool(most * readBuffer)
		r := NewReader(&chunks{b, step}, most*readBuffer, p)
		var loans []loan
		seen := map[*Chunk]bool{}
		borrowed, copied := 0, 0
		back := func(l loan) {
			if len(l.body) > 0 && !bytes.Equal(l.body, bytes.Repeat([]byte{byte(l.n)}, len(l.body))) {
				t.Fatalf("%d bytes a read: frame %d has changed while it was held", step, l.n)
			}
			last := l.chunk.alone()
			l.chunk.Release()
			if last && l.body[0] != poison {
				t.Fatalf("%d bytes a read: frame %d is as it was after its last holder", step, l.n)
			}
		}
		for i := range n {
			body, err := r.Next()
			if err != nil {
				t.Fatalf("frame %d: %v", i, err)
			}
			if c := r.Borrow(); c != nil {
				seen[c] = true
				borrowed++
				loans = append(loans, loan{i, body, c})
			} else {
				copied++
			}
			if p.Held() > most*readBuffer {
				t.Fatalf("%d bytes are held of %d", p.Held(), most*readBuffer)
			}
			for len(loans) > 0 && rng.IntN(100) < 45 {
				at := rng.IntN(len(loans))
				back(loans[at])
				loans[at] = loans[len(loans)-1]
				loans = loans[:len(loans)-1]
			}
		}
		for _, l := range loans {
			back(l)
		}
		r.Close()
		if p.Held() != 0 {
			t.Errorf("%d bytes a read: %d bytes are held of nothing", step, p.Held())
		}
		if borrowed == 0 || copied == 0 && step < len(b) {
			t.Errorf("%d bytes a read: %d frames were borrowed, %d copied", step, borrowed, copied)
		}
	}
}

// What is kept of a chunk stays for good, when all that was borrowed of it was
// released, too.
func TestKeepOfPool(t *testing.T) {
	poisoned(t)
	var b []byte
	const n = 500
	for i := range n {
		b = protowire.AppendVarint(b, 2000)
		b = append(b, bytes.Repeat([]byte{byte(i)}, 2000)...)
	}
	p := NewPool(4 * readBuffer)
	r := NewReader(&chunks{b, 10_000}, most, p)
	kept := map[int][]byte{}
	for i := range n {
		body, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			if !r.Keep() {
				t.Fatalf("frame %d is not kept", i)
			}
			kept[i] = body
			continue
		}
		r.Borrow().Release()
	}
	r.Close()
	for i, body := range kept {
		if !bytes.Equal(body, bytes.Repeat([]byte{byte(i)}, 2000)) {
			t.Errorf("frame %d has changed", i)
		}
	}
	if p.Held() != 0 {
		t.Errorf("%d bytes are held", p.Held())
	}
}

// Who holds nothing goes on in the same buffer, and a buffer of a large frame is
// not lent.
func TestBorrowNothing(t *testing.T) {
	poisoned(t)
	var b []byte
	for i := range 1000 {
		b = protowire.AppendVarint(b, 1000)
		b = append(b, bytes.Repeat([]byte{byte(i)}, 1000)...)
	}
	p := NewPool(2 * readBuffer)
	r := NewReader(&chunks{b, 5000}, most, p)
	var first *Chunk
	for i := range 1000 {
		body, err := r.Next()
		if err != nil || !bytes.Equal(body, bytes.Repeat([]byte{byte(i)}, 1000)) {
			t.Fatalf("frame %d: %v, or it has changed", i, err)
		}
		if c := r.Borrow(); first == nil {
			first = c
			c.Release()
		} else if c != first {
			t.Fatalf("frame %d is in another chunk", i)
		} else {
			c.Release()
		}
	}
	large := append(protowire.AppendVarint(nil, 1<<20), make([]byte, 1<<20)...)
	r = NewReader(&chunks{large, len(large)}, most, p)
	if _, err := r.Next(); err != nil || r.Borrow() != nil {
		t.Errorf("a buffer of %d bytes is lent, %v", len(r.buf), err)
	}
}

// A chunk that is released too often would be given to two.
func TestReleasedTwice(t *testing.T) {
	r := NewReader(&chunks{[]byte{1, 7}, 2}, most, NewPool(readBuffer))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	c := r.Borrow()
	c.Release()
	r.Close()
	defer func() {
		if recover() == nil {
			t.Error("nobody noticed")
		}
	}()
	c.Release()
}

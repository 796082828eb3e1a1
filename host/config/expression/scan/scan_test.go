package scan

import (
	"math/rand/v2"
	"testing"
)

// The words of eight bytes find what single bytes find.
func TestString(t *testing.T) {
	slow := func(b []byte) (int, bool) {
		for i := 1; i < len(b); i++ {
			switch {
			case b[i] == '\\':
				i++
			case b[i] == '"':
				return i + 1, true
			case b[i] < ' ':
				return 0, false
			}
		}
		return 0, false
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 200_000 {
		b := make([]byte, 1+r.IntN(40))
		for i := range b {
			b[i] = pick(r, 'x', 'x', 'x', 'x', ' ', '!', '#', '[', ']', 0x7f, 0x80, 0xa2, 0xff, '"', '\\', 0x1f, 0)
		}
		b[0] = '"'
		want, ok := slow(b)
		if got, err := String(b); got != want || (err == nil) != ok {
			t.Fatalf("%q: %d, %v; want %d, %v", b, got, err, want, ok)
		}
	}
}

func pick(r *rand.Rand, of ...byte) byte { return of[r.IntN(len(of))] }

package field

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pluginhost/host/sdk/wire/id"
)

// FuzzNext: the short way and the long way read the same.
func FuzzNext(f *testing.F) {
	seed := AppendUint(nil, 1<<3, 300)
	seed = AppendFixed(seed, 2<<3|1, -1)
	seed = AppendText(seed, 3<<3|2, strings.Repeat("x", 200))
	f.Add(seed)
	f.Add([]byte{3<<3 | 2, 0xff, 0xff, 0x03})                      // three bytes of size, and nothing
	f.Add(append(protowire.AppendTag(nil, 100, 5), 1, 2, 3, 4))    // a long tag, four bytes
	f.Add(append([]byte{0x81, 0}, bytes.Repeat([]byte{0}, 10)...)) // a tag longer than it need be
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			tag, num, val, rest, ok := Next(b)
			tag2, num2, val2, rest2, ok2 := anyNext(b)
			if ok != ok2 || tag != tag2 || num != num2 || !bytes.Equal(val, val2) || !bytes.Equal(rest, rest2) {
				t.Fatalf("%x: %d %d %x %x %t; the long way %d %d %x %x %t", b, tag, num, val, rest, ok, tag2, num2, val2, rest2, ok2)
			}
			if !ok || len(rest) >= len(b) {
				return
			}
			b = rest
		}
	})
}

// What is appended has the size that was said, and comes back.
func TestSizes(t *testing.T) {
	v := id.New()
	for name, c := range map[string]struct {
		size int
		b    []byte
		want string
	}{
		"nothing":  {SizeBytes(0) + SizeUint(0) + SizeFixed(0) + SizeID(&id.ID{}), AppendID(AppendFixed(AppendUint(AppendText(AppendBytes(nil, 8, ""), 8, ""), 8, 0), 8, 0), 8, &id.ID{}), ""},
		"text":     {SizeBytes(300), AppendText(nil, 1<<3|2, strings.Repeat("é", 150)), "0 " + strings.Repeat("é", 150)},
		"bytes":    {SizeBytes(3), AppendBytes(nil, 1<<3|2, []byte("abc")), "0 abc"},
		"number":   {SizeUint(1 << 40), AppendUint(nil, 1<<3, 1<<40), "1099511627776 "},
		"fixed":    {SizeFixed(5), AppendFixed(nil, 1<<3|1, 5), "5 "},
		"id":       {SizeID(&v), AppendID(nil, 1<<3|2, &v), "0 " + string(v[:])},
		"a header": {2, AppendHeader(nil, 1<<3|2, 0), "0 "},
	} {
		if len(c.b) != c.size {
			t.Errorf("%s: %d bytes, %d said", name, len(c.b), c.size)
		}
		if c.want == "" {
			continue
		}
		tag, num, val, rest, ok := Next(c.b)
		if got := fmt.Sprintf("%d %s", num, val); !ok || tag>>3 != 1 || len(rest) > 0 || got != c.want {
			t.Errorf("%s: %q, %t, %d left", name, got, ok, len(rest))
		}
	}
}

// A peer that never repeats itself costs a bounded amount of memory.
func TestNames(t *testing.T) {
	var n Names
	for i := range 10 * maxNames {
		want := fmt.Sprint("name ", i%700)
		if got, ok := n.Text(2<<3|2, []byte(want)); !ok || got != want {
			t.Fatalf("%q, %t", got, ok)
		}
		if len(n.known) > maxNames {
			t.Fatalf("%d names are remembered", len(n.known))
		}
	}
	long := bytes.Repeat([]byte("x"), maxName+1)
	if got, ok := n.Text(3<<3|2, long); !ok || got != string(long) || n.known[got] != "" {
		t.Errorf("%d bytes, %t", len(got), ok)
	}
	if _, ok := n.Text(2<<3|2, []byte("\xff")); ok {
		t.Error("not UTF-8, and taken")
	}
}

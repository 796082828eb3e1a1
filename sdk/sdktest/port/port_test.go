package port

import (
	"fmt"
	"net"
	"testing"
)

// A port belongs to one test until that has ended, whether or not anybody
// listens on it.
func TestClaims(t *testing.T) {
	from := Free(t)
	want := func(t *testing.T, count int) {
		t.Helper()
		seen := map[int]bool{}
		for {
			p, ok := free(t, from+1, from+20)
			if !ok {
				break
			}
			if seen[p] || p <= from || p > from+20 {
				t.Errorf("port %d is given, after %v", p, seen)
			}
			seen[p] = true
		}
		if len(seen) < count {
			t.Errorf("%d ports are given, want %d: %v", len(seen), count, seen)
		}
	}
	for range 3 {
		t.Run("all", func(t *testing.T) { want(t, 10) }) // others run tests, too
	}
}

// A port that somebody has is not given, on whatever address.
func TestTaken(t *testing.T) {
	p := Free(t)
	claim := fmt.Sprintf("@host-test-port-%d", p)
	if l, err := net.Listen("unix", claim); err == nil {
		_ = l.Close()
		t.Fatalf("port %d is not claimed", p)
	}
	tcp, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
	if err != nil {
		t.Fatal(err)
	}
	if err := unused(t.Context(), p); err == nil {
		t.Error("a port that somebody listens on is free")
	}
	_ = tcp.Close()
	udp, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", p))
	if err != nil {
		t.Fatal(err)
	}
	if err := unused(t.Context(), p); err == nil {
		t.Error("a port that somebody reads from is free")
	}
	_ = udp.Close()
	if err := unused(t.Context(), p); err != nil {
		t.Errorf("a port that nobody has any more: %v", err)
	}
}

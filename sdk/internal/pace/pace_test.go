package pace

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 1 << 20: 400, 4 << 20: 400, 8 << 20: 200, 16 << 20: 100, 1 << 30: 100} {
		if got := Percent(live); got != want {
			t.Errorf("%d bytes: %d, want %d", live, got, want)
		}
	}
}

// current reads the percentage.
func current() int {
	p := debug.SetGCPercent(100)
	debug.SetGCPercent(p)
	return p
}

func TestEnvironmentRules(t *testing.T) {
	before := current()
	t.Setenv("GOMEMLIMIT", "1GiB")
	Keep()
	if now := current(); now != before {
		t.Errorf("%d after %d", now, before)
	}
}

// The pace follows the heap: up while it is small, back when it is large.
func TestFollows(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	old := current()
	defer debug.SetGCPercent(old)
	Keep()
	eventually(t, func(p int) bool { return p > 250 })
	large := make([][]byte, 64)
	for i := range large {
		large[i] = make([]byte, 1<<20)
	}
	eventually(t, func(p int) bool { return p <= 110 })
	runtime.KeepAlive(large)
	eventually(t, func(p int) bool { return p > 250 })
}

func eventually(t *testing.T, ok func(int) bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(current()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("GOGC stays at %d", current())
		}
		runtime.GC()
	}
}

package clock

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestPause(t *testing.T) {
	for name, c := range map[string]struct {
		base, limit time.Duration
		n           int
		least, most time.Duration
	}{
		"first":         {time.Second, 10 * time.Second, 1, 500 * time.Millisecond, time.Second},
		"third":         {time.Second, 10 * time.Second, 3, 2 * time.Second, 4 * time.Second},
		"bounded":       {time.Second, 10 * time.Second, 9, 5 * time.Second, 10 * time.Second},
		"overflow":      {time.Hour, time.Hour, 1 << 30, 30 * time.Minute, time.Hour},
		"no limit":      {time.Hour, 0, 100, Longest / 2, Longest},
		"no limit, far": {10 * time.Second, 0, 1 << 30, Longest / 2, Longest},
		"beyond":        {time.Hour, time.Second, 1, time.Second / 2, time.Second},
		"largest":       {time.Hour, math.MaxInt64, 1 << 30, math.MaxInt64 / 2, math.MaxInt64},
		"negative":      {-time.Hour, time.Second, 3, 0, 0},
		"none":          {0, time.Second, 3, 0, 0},
		"tiny":          {1, 1, 1, 1, 1},
		"unbounded":     {time.Second, 0, 11, 512 * time.Second, 1024 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			for range 1000 {
				if p := Pause(c.base, c.limit, c.n); p < c.least || p > c.most {
					t.Fatalf("%s is not within %s and %s", p, c.least, c.most)
				}
			}
		})
	}
}

func TestConversions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		time.Sleep(time.Minute)
		now := c.Now()
		if now.Since(1) != time.Minute {
			t.Errorf("a minute is %s", now.Since(1))
		}
		wall := time.Now().Add(time.Second).UnixNano()
		if mono := now.OnClock(wall); mono != now.Mono+int64(time.Second) || now.OnWall(mono) != wall {
			t.Errorf("in a second is %d after %d", mono, now.Mono)
		}
		if mono := now.OnClock(1); mono != 1 {
			t.Errorf("1970 is %d", mono)
		}
	})
}

func TestAllowance(t *testing.T) {
	var a Allowance
	for second := range int64(3) {
		n := 0
		for range 3 * allowed {
			if a.Take(second*int64(time.Second) + 5) {
				n++
			}
		}
		if n != allowed {
			t.Errorf("%d in second %d, want %d", n, second, allowed)
		}
	}
}

// Package clock measures time for the router: by a clock that does not jump
// when the machine's is set.
package clock

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Clock counts from when it was made.
type Clock struct{ start time.Time }

// New returns a clock.
func New() Clock { return Clock{time.Now()} }

// Instant is one reading of a clock.
type Instant struct {
	Wall time.Time // for people and other processes
	Mono int64     // nanoseconds on the clock, at least 1
}

// Now reads the clock.
func (c Clock) Now() Instant {
	t := time.Now()
	return Instant{t, int64(t.Sub(c.start)) + 1}
}

// Since returns the time since an earlier reading's Mono.
func (i Instant) Since(mono int64) time.Duration { return time.Duration(i.Mono - mono) }

// OnClock converts a time of the wall, in Unix nanoseconds, to the clock's. What
// is long past becomes 1, because 0 stands for none.
func (i Instant) OnClock(wall int64) int64 { return max(i.Mono+wall-i.Wall.UnixNano(), 1) }

// OnWall converts back.
func (i Instant) OnWall(mono int64) int64 { return i.Wall.UnixNano() + mono - i.Mono }

// Longest is the longest pause.
const Longest = 24 * time.Hour

// Pause returns how long to wait after n failed attempts: base, doubled for
// each further one, at most limit, or Longest when that is 0. Half of it
// is random, so that failures do not march in step.
func Pause(base, limit time.Duration, n int) time.Duration {
	if limit <= 0 {
		limit = Longest
	}
	p := min(base, limit)
	for n--; n > 0 && p > 0 && p < limit; n-- {
		p = min(p, limit-p) + p // at most limit, and no overflow
	}
	if p <= 1 {
		return max(p, 0)
	}
	return p/2 + rand.N(p/2)
}

// Allowance bounds how often something costly is done: a thousand times in each
// second. Its method may be called from any goroutine. The zero Allowance is
// ready.
type Allowance struct {
	second, used atomic.Int64
}

const allowed = 1000

// Take reports whether it may be done once more, at a Mono.
func (a *Allowance) Take(mono int64) bool {
	now := mono / int64(time.Second)
	if old := a.second.Load(); old != now && a.second.CompareAndSwap(old, now) {
		a.used.Store(0)
	}
	return a.used.Add(1) <= allowed
}

package sdk

import (
	"sync/atomic"
	"time"
)

// clock tells the time of events. time.Now reads two clocks, that on the wall
// and the monotonic one, and each costs as much as half an Emit's encoding. The
// monotonic one alone does for a while; a wall clock that was set is noticed
// after that.
type clock struct{ base atomic.Pointer[time.Time] }

const clockHolds = 100 * time.Millisecond

func (c *clock) now() time.Time {
	if base := c.base.Load(); base != nil {
		if d := time.Since(*base); d >= 0 && d < clockHolds {
			return base.Add(d)
		}
	}
	now := time.Now()
	c.base.Store(&now)
	return now
}

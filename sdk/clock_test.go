package sdk

import (
	"testing"
	"testing/synctest"
	"time"
)

// The clock is that on the wall, at any distance from its last reading.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		for _, d := range []time.Duration{0, time.Microsecond, clockHolds - time.Microsecond, time.Microsecond, clockHolds, time.Hour} {
			time.Sleep(d)
			if got := c.now(); !got.Equal(time.Now()) {
				t.Errorf("after %s: %s off", d, time.Until(got))
			}
		}
	})
}

// Package pace keeps the garbage collector of a small process from running all
// the time. With Go's own settings a heap of one MB is collected for each four
// MB allocated: at 400,000 events/s that is 50 times a second, and took a fifth
// of a plugin's processor time here. What it may grow by is raised to Room, and
// from a live heap of that size on everything is as Go has it.
package pace

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Room is how many bytes a heap grows by between two collections, at least.
const Room = 16 << 20

// Keep paces the collector from now on, until the process ends. It does nothing
// where the environment says how to: GOGC or GOMEMLIMIT.
func Keep() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	p := &pacer{sample: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	p.adjust()
	p.watch()
}

// pacer adjusts after each collection.
type pacer struct {
	sample  []metrics.Sample
	percent int
}

// watch has adjust called when the next collection is through: a finalizer of
// something that nobody holds runs then.
func (p *pacer) watch() {
	type witness struct{ _ *int }
	runtime.SetFinalizer(&witness{new(int)}, func(*witness) {
		p.adjust()
		p.watch()
	})
}

func (p *pacer) adjust() {
	metrics.Read(p.sample)
	percent := Percent(p.sample[0].Value.Uint64())
	// Setting it stops the world for a moment: not for a trifle.
	if d := percent - p.percent; 10*max(d, -d) < p.percent {
		return
	}
	p.percent = percent
	debug.SetGCPercent(percent)
}

// least is below which Go's own minimum of 4 MB, times the percentage, rules.
const least = 4 << 20

// Percent is GOGC for a live heap of so many bytes.
func Percent(live uint64) int {
	return int(max(100, 100*Room/max(live, least)))
}

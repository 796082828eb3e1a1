// Command cron is the plugin cron: it emits an event on a schedule.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
	_ "time/tzdata" // the machine may have none

	"github.com/pluginhost/host/sdk"
)

// Config is the configuration of an instance.
type Config struct {
	Schedule string        `host:"schedule" doc:"minute hour day month weekday, and year where wanted, with seconds before all six where wanted; or @hourly, @daily, …"`
	Every    time.Duration `host:"every" doc:"In place of a schedule: the time between two ticks."`
	Timezone string        `host:"timezone" default:"UTC" doc:"Of the schedule, for example Europe/Berlin. With certain hours in the schedule, a time that daylight saving skips ticks at the end of the gap, and one that it repeats ticks once; every hour is every hour that passes."`
	Missed   string        `host:"missed" default:"skip" oneof:"skip|once|all" doc:"What to do about ticks that came while nothing ran: nothing, one tick, or each (at most 100)."`
	Jitter   time.Duration `host:"jitter" doc:"Wait a random time up to this before each tick; less than the time between two."`
	Overlap  string        `host:"overlap" default:"allow" oneof:"allow|skip" doc:"Whether a tick is left out while the one before is not settled."`
}

// Tick is the data of a tick.
type Tick struct {
	Scheduled time.Time `json:"scheduled" doc:"When the tick was due."`
	Actual    time.Time `json:"actual" doc:"When it was emitted."`
	Sequence  uint64    `json:"sequence" doc:"Counts the ticks of this process, from 1."`
	Missed    bool      `json:"missed" doc:"Whether it was due while nothing ran."`
}

var tick = sdk.Event[Tick]("tick", "It is time.")

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin[Config] {
	return sdk.Plugin[Config]{
		Name: "cron", Version: "0.1.0", Doc: "Emits an event on a schedule.",
		Events: sdk.Events{tick},
		Verify: func(_ context.Context, c Config, _ func(string, int)) error {
			_, err := newClock(c)
			return err
		},
		New: func(_ context.Context, c Config, env *sdk.Env) (*sdk.Instance, error) {
			k, err := newClock(c)
			if err != nil {
				return nil, err
			}
			return &sdk.Instance{Run: func(ctx context.Context) error { return k.run(ctx, env) }}, nil
		},
	}
}

// clock knows when ticks are due.
type clock struct {
	config Config
	next   func(after time.Time) time.Time // zero for never
	zone   *time.Location
}

func newClock(c Config) (*clock, error) {
	zone, err := time.LoadLocation(c.Timezone)
	if err != nil {
		_, more := newClockIn(c, time.UTC) // what else is wrong
		return nil, errors.Join(wrong("timezone", "%q is not a time zone such as Europe/Berlin", c.Timezone), more)
	}
	return newClockIn(c, zone)
}

func wrong(attribute, format string, args ...any) error {
	return &sdk.AttrError{Attribute: attribute, Err: fmt.Errorf(format, args...)}
}

func newClockIn(c Config, zone *time.Location) (*clock, error) {
	k := &clock{config: c, zone: zone}
	switch {
	case c.Schedule == "" && c.Every == 0:
		return nil, wrong("schedule", "either schedule or every is needed")
	case c.Schedule != "" && c.Every != 0:
		return nil, wrong("every", "schedule and every exclude each other")
	case c.Every < 0 || c.Every > 0 && c.Every < 10*time.Millisecond:
		return nil, wrong("every", "it is at least 10ms")
	case c.Every > 0:
		// Multiples of the period since the year 1, so that a restart keeps them.
		k.next = func(after time.Time) time.Time { return after.Truncate(c.Every).Add(c.Every) }
	default:
		e, err := newSchedule(c.Schedule, zone)
		if err != nil {
			return nil, wrong("schedule", "%w", err)
		}
		k.next = e.next
		if k.next(time.Now()).IsZero() {
			return nil, wrong("schedule", "%q never comes", c.Schedule)
		}
	}
	first := k.next(time.Now())
	second := k.next(first)
	switch {
	case c.Jitter < 0:
		return nil, wrong("jitter", "it is not negative")
	case !second.IsZero() && c.Jitter >= second.Sub(first):
		return nil, wrong("jitter", "it is less than the time between two ticks, which is %v", second.Sub(first))
	}
	return k, nil
}

// maxSleep bounds one wait: the wall clock may be set, and a machine suspended.
const maxSleep = 30 * time.Second

// maxMissed bounds the ticks that are made up for, and maxOutage how far back
// they are looked for.
const (
	maxMissed = 100
	maxOutage = 100 * 366 * 24 * time.Hour
)

// late is how much later than due, and than the jitter, a tick may come before
// it counts as missed.
const late = time.Second

// run emits ticks until ctx ends.
func (k *clock) run(ctx context.Context, env *sdk.Env) error {
	mark := newCheckpoint(env.StateDir)
	last, err := mark.load()
	if err != nil {
		env.Log.Warn("the last tick is not known", "error", err)
	}
	now := k.now()
	if last.IsZero() || last.After(now) { // never, or the clock was set back
		last = now
	}
	e := &emitter{clock: k, env: env, mark: mark}
	for ctx.Err() == nil {
		due := k.next(last.In(k.zone))
		if due.IsZero() {
			<-ctx.Done() // it came for the last time
			return nil
		}
		wait := due.Sub(k.now())
		if wait < -late-k.config.Jitter { // slept through, or not running
			last = e.missed(ctx, due, k.now())
			continue
		}
		if wait > maxSleep+time.Hour && due.Sub(last) < wait-maxSleep { // the clock was set back
			last = k.now()
			continue
		}
		if wait > 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(min(wait, maxSleep)):
			}
			if wait > maxSleep {
				continue
			}
		}
		e.emit(ctx, due, false)
		last = due
	}
	return nil
}

// now is the wall clock, without the monotonic one, which a suspended machine
// does not move.
func (k *clock) now() time.Time { return time.Now().Round(0).In(k.zone) }

// emitter emits ticks.
type emitter struct {
	clock    *clock
	env      *sdk.Env
	mark     *checkpoint
	sequence uint64
	pending  *sdk.Promise // the last one
}

// missed makes up for the ticks from due on that should have come before now,
// and returns the last of them.
func (e *emitter) missed(ctx context.Context, due, now time.Time) time.Time {
	all := e.clock.between(due, now)
	switch e.clock.config.Missed {
	case "once":
		e.emit(ctx, all[len(all)-1], true)
	case "all":
		for _, t := range all {
			e.emit(ctx, t, true)
		}
	}
	return all[len(all)-1]
}

// between returns the last ticks from due, which is one, to now. A schedule can
// only be followed forwards, so they are looked for in longer and longer times
// before now.
func (k *clock) between(due, now time.Time) []time.Time {
	for back := time.Minute; ; back *= 2 {
		from, whole := now.Add(-back), false
		if back > maxOutage {
			whole = true
		}
		if !from.After(due) {
			from, whole = due.Add(-1), true
		}
		var all []time.Time
		for t := k.next(from); !t.IsZero() && !t.After(now); t = k.next(t) {
			all = append(all, t)
		}
		if whole || len(all) >= maxMissed {
			return all[max(0, len(all)-maxMissed):]
		}
	}
}

func (e *emitter) emit(ctx context.Context, due time.Time, missed bool) {
	if j := e.clock.config.Jitter; j > 0 && !missed {
		select {
		case <-ctx.Done():
			return
		case <-time.After(rand.N(j)):
		}
	}
	if e.clock.config.Overlap == "skip" && e.pending != nil {
		select {
		case <-e.pending.Done():
		default:
			e.env.Log.Info("a tick was left out: the one before is not settled", "scheduled", due)
			e.record(due)
			return
		}
	}
	e.sequence++
	p := tick.Emit(ctx, e.env, Tick{Scheduled: due, Actual: e.clock.now(), Sequence: e.sequence, Missed: missed})
	e.pending = p
	err := p.Accepted(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return // whoever comes next makes up for it
		}
		var x *sdk.Error
		if !errors.As(err, &x) || x.Reason != "unrouted" {
			e.env.Log.Warn("a tick was not accepted", "error", err)
		}
	}
	e.record(due)
}

// record notes that a tick is not to be made up for.
func (e *emitter) record(due time.Time) {
	if err := e.mark.save(due); err != nil {
		e.env.Log.Warn("the tick could not be recorded", "error", err)
	}
}

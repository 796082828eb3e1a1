// Command cron is the plugin cron: it emits an event on a schedule.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
	_ "time/tzdata" // the machine may have none

	"github.com/hashicorp/cronexpr"

	"github.com/pluginhost/host/sdk"
)

// Config is the configuration of an instance.
type Config struct {
	Schedule string        `host:"schedule" doc:"minute hour day month weekday, with seconds before and years after where wanted; or @hourly, @daily, …"`
	Every    time.Duration `host:"every" doc:"In place of a schedule: the time between two ticks."`
	Timezone string        `host:"timezone" default:"UTC" doc:"Of the schedule, for example Europe/Berlin. A time that daylight saving skips ticks at the next that there is; one that it repeats ticks once."`
	Missed   string        `host:"missed" default:"skip" oneof:"skip|once|all" doc:"What to do about ticks that came while nothing ran: nothing, one tick, or each (at most 100)."`
	Jitter   time.Duration `host:"jitter" doc:"Wait a random time up to this before each tick."`
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
	wrong := func(attribute, format string, args ...any) error {
		return &sdk.AttrError{Attribute: attribute, Err: fmt.Errorf(format, args...)}
	}
	zone, err := time.LoadLocation(c.Timezone)
	if err != nil {
		return nil, wrong("timezone", "%q is not a time zone such as Europe/Berlin", c.Timezone)
	}
	k := &clock{config: c, zone: zone}
	switch {
	case c.Schedule == "" && c.Every == 0:
		return nil, wrong("schedule", "either schedule or every is needed")
	case c.Schedule != "" && c.Every != 0:
		return nil, wrong("every", "schedule and every exclude each other")
	case c.Every < 0 || c.Every > 0 && c.Every < 10*time.Millisecond:
		return nil, wrong("every", "it is at least 10ms")
	case c.Every > 0:
		// Multiples of the period since the epoch, so that a restart keeps them.
		k.next = func(after time.Time) time.Time { return after.Truncate(c.Every).Add(c.Every) }
	default:
		e, err := cronexpr.Parse(c.Schedule)
		if err != nil {
			return nil, wrong("schedule", "%w", err)
		}
		k.next = e.Next
		if k.next(time.Now().In(zone)).IsZero() {
			return nil, wrong("schedule", "%q never comes", c.Schedule)
		}
	}
	if c.Jitter < 0 {
		return nil, wrong("jitter", "it is not negative")
	}
	return k, nil
}

// maxSleep bounds one wait: the wall clock may be set, and a machine suspended.
const maxSleep = 30 * time.Second

// maxMissed bounds the ticks that are made up for.
const maxMissed = 100

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
		if wait < -time.Second { // slept through, or not running
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
	var all []time.Time
	for !due.IsZero() && !due.After(now) {
		if all = append(all, due); len(all) > maxMissed {
			all = all[1:]
		}
		due = e.clock.next(due.In(e.clock.zone))
		if len(all) == maxMissed && e.clock.config.Every > 0 { // no need to count them all
			due = now.Truncate(e.clock.config.Every).Add(-maxMissed * e.clock.config.Every)
			for all = nil; !due.After(now); due = e.clock.next(due) {
				all = append(all, due)
			}
			all = all[max(0, len(all)-maxMissed):]
		}
	}
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
			return
		}
	}
	e.sequence++
	p := tick.Emit(ctx, e.env, Tick{Scheduled: due, Actual: e.clock.now(), Sequence: e.sequence, Missed: missed})
	e.pending = p
	if err := p.Accepted(ctx); err != nil {
		var x *sdk.Error
		if !errors.As(err, &x) || x.Reason != "unrouted" {
			e.env.Log.Warn("a tick was not accepted", "error", err)
		}
	}
	if err := e.mark.save(due); err != nil {
		e.env.Log.Warn("the tick could not be recorded", "error", err)
	}
}

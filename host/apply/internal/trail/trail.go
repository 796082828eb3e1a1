// Package trail writes down what a transaction does: to the log of the
// generations, as events for the routes, and for the status.
package trail

import (
	"sync"
	"time"

	"github.com/pluginhost/host/host/generation"
	"github.com/pluginhost/host/host/observe"
)

// Book makes trails.
type Book struct {
	Log *generation.Log
	// Emit tells whoever routes the host's events.
	Emit func(name string, data any)
	// Arrow, when not nil, is called at each transition.
	Arrow func(name string)
	// Began and Ended, when not nil, are called around each transaction.
	Began func()
	Ended func(observe.Reload)

	mu   sync.Mutex
	now  *Trail // of what runs
	last *observe.Reload
}

// Trail is that of one transaction. One goroutine at a time writes it.
type Trail struct {
	book   *Book
	number uint64 // in the log, 0 while it is not there

	mu     sync.Mutex
	record generation.Attempt
	phase  string
	since  time.Time
}

// Begin opens a trail. Nothing is written before something changes, or fails.
func (b *Book) Begin(who generation.Who) *Trail {
	t := &Trail{book: b, record: generation.Attempt{Who: who, Started: time.Now().UTC()}}
	b.mu.Lock()
	b.now = t
	b.mu.Unlock()
	if b.Began != nil {
		b.Began()
	}
	return t
}

// Status adds what runs and what ended last.
func (b *Book) Status(s *observe.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.LastReload = b.last
	if t := b.now; t != nil {
		t.mu.Lock()
		s.Reloading = &observe.Reloading{Phase: t.phase, Since: t.since, Started: t.record.Started, Command: t.record.Who.Command}
		t.mu.Unlock()
	}
}

// At is a transition that is not a phase.
func (b *Book) At(name string) {
	if b.Arrow != nil {
		b.Arrow(name)
	}
}

// Summary says what is to be done.
func (t *Trail) Summary(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.record.Summary = s
}

// Enter notes that a phase on the way to a generation begins. A trail that only
// looks is not written yet.
func (t *Trail) Enter(phase string, g uint64, looks bool) {
	now := time.Now()
	step := generation.Transition{Phase: phase, Time: now.UTC()}
	t.mu.Lock()
	t.phase, t.since, t.record.Generation = phase, now, g
	switch {
	case t.number != 0:
		t.book.Log.Step(t.number, step)
	default:
		t.record.Steps = append(t.record.Steps, step)
		if !looks {
			t.number = t.book.Log.Begin(t.record)
		}
	}
	written, command := t.number != 0, t.record.Who.Command
	t.mu.Unlock()
	if written {
		t.book.Emit("reload.phase", map[string]any{"phase": phase, "generation": g, "command": command})
	}
	t.book.At(phase)
}

// End closes the trail. One that only looked and has nothing to say is not
// written at all.
func (t *Trail) End(r observe.Reload, silent bool) {
	b := t.book
	t.mu.Lock()
	t.record.Outcome, t.record.Message, t.record.Ended = r.Outcome, r.Message, time.Now().UTC()
	r.Time, r.Command, r.User = time.Now(), t.record.Who.Command, t.record.Who.User
	if t.number == 0 && !silent {
		t.number = b.Log.Begin(t.record)
	}
	if t.number != 0 {
		b.Log.End(t.number, t.record)
	}
	t.mu.Unlock()
	b.mu.Lock()
	b.now, b.last = nil, &r
	b.mu.Unlock()
	if b.Ended != nil {
		b.Ended(r)
	}
}

// Later notes what follows the end.
func (t *Trail) Later(phase string) {
	if t.number != 0 {
		t.book.Log.Step(t.number, generation.Transition{Phase: phase, Time: time.Now().UTC()})
	}
}

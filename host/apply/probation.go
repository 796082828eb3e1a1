package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pluginhost/host/host/generation"
)

// retryReturn is how long after a return that failed the next one follows.
const retryReturn = 15 * time.Second

// Run returns to the generation before when nobody confirms the one that
// serves in time, releases plans that have expired, and repeats a reload that
// lost its turn to one whose caller has gone, until ctx ends.
func (a *Applier) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var notBefore time.Time // of the next return
	for {
		next := a.plans.Expire(time.Now())
		until, back := a.due()
		if !until.IsZero() && until.Before(notBefore) {
			until = notBefore
		}
		if !until.IsZero() && !until.After(time.Now()) {
			if !a.goBack(ctx, back) {
				notBefore = time.Now().Add(retryReturn)
			}
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		if !until.IsZero() && (next.IsZero() || until.Before(next)) {
			next = until
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-timer.C:
		case <-a.changed:
		case <-a.queue.Owed():
			a.queue.Again(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// due returns when and where to return, the zero time when there is no need.
func (a *Applier) due() (time.Time, uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.confirm == nil {
		return time.Time{}, 0
	}
	return a.confirm.Until, a.confirm.Back
}

// goBack returns to a generation and reports whether that was the end of it.
func (a *Applier) goBack(ctx context.Context, to uint64) bool {
	r, err := a.Reload(ctx, Request{Who: generation.System("not confirmed in time"), Return: true, To: to}, nil)
	if err != nil || r.Outcome != Committed && r.Outcome != Unchanged {
		a.o.Logger.Error("the generation was not confirmed, and the return failed", "to", to, "outcome", r.Outcome, "message", r.Message, "error", err)
		return false
	}
	a.o.Logger.Warn("the generation was not confirmed in time", "returned_to", to, "generation", r.Generation)
	return true
}

// wake lets Run look at the times again.
func (a *Applier) wake() {
	select {
	case a.changed <- struct{}{}:
	default: // it will
	}
}

// ErrNotWaiting says that there is nothing to confirm.
var ErrNotWaiting = errors.New("no generation waits for a confirmation")

// Confirm ends the probation of what is serving.
func (a *Applier) Confirm(who generation.Who) (uint64, error) {
	a.mu.Lock()
	g, c := a.generation, a.confirm
	if c == nil {
		a.mu.Unlock()
		return g, fmt.Errorf("%w: generation %d is serving for good", ErrNotWaiting, g)
	}
	if err := a.o.Store.Confirmed(); err != nil {
		a.mu.Unlock()
		return g, err
	}
	a.confirm = nil
	a.mu.Unlock()
	a.wake()
	now := time.Now().UTC()
	end := generation.Attempt{Who: who, Generation: g, Started: now, Ended: now, Outcome: "confirmed"}
	a.o.Log.End(a.o.Log.Begin(generation.Attempt{Who: who, Generation: g, Started: now}), end)
	a.o.Router.EmitHost("reload.confirmed", map[string]any{"generation": g})
	return g, nil
}

// probation returns what is waited for, nil when nothing is.
func (a *Applier) probation() *generation.Confirm {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.confirm == nil {
		return nil
	}
	c := *a.confirm
	return &c
}

// returned ends a probation by a return to what is serving already.
func (a *Applier) returned(req Request) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !req.Return || a.confirm == nil {
		return ""
	}
	if err := a.o.Store.Confirmed(); err != nil {
		return err.Error()
	}
	a.confirm = nil
	return "the configuration to return to is the one that is serving"
}

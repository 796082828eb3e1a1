package apply

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	plans "github.com/pluginhost/host/host/apply/internal/hold"
	"github.com/pluginhost/host/host/apply/internal/turn"
	"github.com/pluginhost/host/host/plan"
)

// MaxHold is how long a plan is held at most.
const MaxHold = time.Hour

// Plan says what Reload would do now. It reserves and verifies, so that it
// knows and does not guess, and gives back what it took; with hold, it keeps the
// leases that long, for a Reload with the plan. It takes nobody's place, and a
// reload takes its.
func (a *Applier) Plan(ctx context.Context, hold time.Duration, progress func(Progress)) (r Result, err error) {
	start := time.Now()
	err = a.queue.Follow(ctx, func(ctx context.Context) { r = a.look(ctx, hold, progress) })
	if err != nil && !errors.Is(err, turn.ErrClosed) {
		return a.undone(err, start), nil
	}
	return r, err
}

func (a *Applier) look(ctx context.Context, hold time.Duration, progress func(Progress)) Result {
	start := time.Now()
	t := &transaction{a: a, progress: progress}
	r := Result{Outcome: Unchanged, Generation: a.Generation(), Confirm: a.probation()}
	err := t.load(ctx, nil)
	switch {
	case ctx.Err() != nil:
		return a.undone(context.Cause(ctx), start)
	case err != nil:
		r.Outcome, r.Message = RolledBack, err.Error()
	case t.diags.HasErrors():
		r.Outcome, r.Message = Invalid, "the configuration has errors"
	default:
		t.make()
		r.Plan = t.plan
		if t.plan.Empty() {
			break
		}
		r.Outcome = Changes
		t.count()
		t.candidates()
		defer t.undo()
		if err = t.phases(ctx, Reserve, Verify); err == nil && hold > 0 {
			r.Held, err = t.hold(ctx, hold)
		}
		if ctx.Err() != nil {
			r = a.undone(context.Cause(ctx), start)
		} else if err != nil {
			r.Outcome, r.Message = RolledBack, err.Error()
		}
	}
	r.Diagnostics, r.Elapsed = t.diags, time.Since(start)
	return r
}

// count counts what the instances that leave have in hand.
func (t *transaction) count() {
	a := t.a
	listeners := map[string][]string{} // by address
	var all []string
	for n := range t.plan.Steps {
		s := &t.plan.Steps[n]
		if s.Op != plan.Replace && s.Op != plan.Stop {
			continue
		}
		a.mu.Lock()
		i := a.live[s.Address]
		a.mu.Unlock()
		if i == nil {
			continue
		}
		st := i.Status()
		s.Drains.Deliveries = st.InFlight
		listeners[s.Address] = st.Listeners
		all = append(all, st.Listeners...)
	}
	if len(all) == 0 || a.o.Connections == nil {
		return
	}
	open := a.o.Connections(all)
	for n := range t.plan.Steps {
		for _, l := range listeners[t.plan.Steps[n].Address] {
			t.plan.Steps[n].Drains.Connections += open[l]
		}
	}
}

// hold keeps the leases for a reload with this plan.
func (t *transaction) hold(ctx context.Context, hold time.Duration) (*Held, error) {
	a := t.a
	h := &Held{ID: rand.Text(), Base: t.generation - 1, Config: t.fingerprint(), Expires: time.Now().Add(min(hold, MaxHold)).UTC()}
	var owners []string
	release := func() {
		for _, o := range owners {
			a.o.Leases.Release(o)
		}
	}
	for _, m := range t.made {
		owner := m.Address() + "@plan-" + h.ID
		owners = append(owners, owner)
		for _, r := range m.config.Resources {
			if _, err := a.o.Leases.Acquire(ctx, owner, want(r)); err != nil {
				release()
				return nil, fmt.Errorf("hold %s: %w", r.Value, err)
			}
		}
	}
	if !a.plans.Keep(plans.Plan{ID: h.ID, Config: h.Config, Expires: h.Expires, Release: release}) {
		release()
		return nil, errors.New("as many plans are held as there may be: apply one, or wait until one expires")
	}
	a.wake()
	return h, nil
}

// fingerprint is equal for what gives the same plan: files, variables and
// executables.
func (t *transaction) fingerprint() string {
	s := t.want.Source.Fingerprint()
	for n := range t.want.Config.Instances {
		i := &t.want.Config.Instances[n]
		if n == 0 || i.Plugin != t.want.Config.Instances[n-1].Plugin {
			s += " " + i.Plugin + "=" + i.Digest
		}
	}
	return s
}

// fits says why a plan cannot be applied any more.
func (a *Applier) fits(h *Held, t *transaction) error {
	p, held := a.plans.Get(h.ID)
	switch {
	case h.Base != t.generation-1:
		return fmt.Errorf("the plan was made for generation %d, but generation %d is serving: make a new one with host plan", h.Base, t.generation-1)
	case !held:
		return fmt.Errorf("the plan is not held any more: it has expired at %s, or the daemon was started anew; make a new one with host plan", h.Expires.Local().Format(time.DateTime))
	case p.Config != t.fingerprint() || p.Config != h.Config:
		return fmt.Errorf("the configuration or a plugin has changed since the plan was made: make a new one with host plan")
	}
	return nil
}

package apply

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pluginhost/host/host/apply/internal/trail"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/generation"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/plan"
	"github.com/pluginhost/host/host/resource"
)

const (
	parallel    = 32               // instances that are verified or prepared at once
	undoTimeout = 10 * time.Second // of the abort of one instance
	loadTimeout = 30 * time.Second // before a configuration says otherwise
)

// transaction is one attempt to reach a generation.
type transaction struct {
	a          *Applier
	want       Loaded
	before     *config.Config
	plan       *plan.Plan
	generation uint64
	trail      *trail.Trail        // nil for a plan, which leaves none
	carried    *generation.Confirm // the probation that this one goes on with

	mu       sync.Mutex
	progress func(Progress)
	diags    config.Diagnostics
	made     []*candidate // those that start or replace, in the plan's order
}

// candidate is an instance that is being built.
type candidate struct {
	Instance
	config *config.Instance
	level  int
	leases []resource.Lease
}

// transact runs the phases. The caller holds the slot.
func (a *Applier) transact(ctx context.Context, req Request, from *generation.Record, progress func(Progress)) (r Result, d *drained) {
	start := time.Now()
	t := &transaction{a: a, progress: progress, trail: a.trails.Begin(req.Who)}
	end := func(o Outcome, message string) Result {
		return Result{Outcome: o, Generation: a.Generation(), Plan: t.plan, Diagnostics: t.diags,
			Elapsed: time.Since(start), Message: message}
	}
	defer func() {
		r.Confirm = a.probation()
		a.note(t.trail, r)
	}()
	givenUp := func() Result {
		r := a.undone(context.Cause(ctx), start)
		r.Plan, r.Diagnostics = t.plan, t.diags
		return r
	}

	if err := t.load(ctx, from); ctx.Err() != nil {
		return givenUp(), nil
	} else if err != nil {
		return end(RolledBack, err.Error()), nil
	}
	if t.diags.HasErrors() {
		return end(Invalid, "the configuration has errors"), nil
	}
	t.tell(Progress{Phase: Load, Message: fmt.Sprintf("%d instances", len(t.want.Config.Instances)), Done: true})
	first := t.make()
	t.trail.Summary(t.plan.Summary())
	if req.Plan != nil {
		if err := a.fits(req.Plan, t); err != nil {
			return end(RolledBack, err.Error()), nil
		}
	}
	if t.plan.Empty() && !first {
		a.keep(t)
		return end(Unchanged, a.returned(req)), nil
	}

	record := t.record(req, from)
	resumed := first && a.resumes(&record)
	place, err := a.room(ctx)
	var staged *generation.Staged
	if err == nil {
		defer place.leave()
		staged, err = t.build(ctx, resumed, record)
	}
	if err == nil && ctx.Err() == nil {
		t.enter(Commit, fmt.Sprintf("generation %d", t.generation))
		if staged != nil {
			err = staged.Commit()
		}
	}
	if err != nil || ctx.Err() != nil {
		t.enter(Undo, "giving back what was reserved and prepared")
		t.undo()
		if staged != nil {
			staged.Drop()
		}
		if ctx.Err() != nil {
			return givenUp(), nil
		}
		return end(RolledBack, err.Error()), nil
	}
	// From here on everything rolls forward, whatever becomes of ctx.
	a.trails.At("recorded")
	d = t.commit(context.WithoutCancel(ctx), place, record.Confirm)
	return end(Committed, ""), d
}

// load reads the configuration. One that takes too long is given up, not
// waited for: a file system that hangs must not hold every later reload.
func (t *transaction) load(ctx context.Context, from *generation.Record) error {
	a := t.a
	if from == nil {
		t.enter(Load, "reading the configuration")
	} else {
		t.enter(Load, fmt.Sprintf("reading the configuration of generation %d", from.Generation))
	}
	limit := loadTimeout
	if c := a.Config(); c != nil && c.Host.Load > 0 {
		limit = c.Host.Load
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("load took longer than %s; host { load_timeout } sets that", limit))
	defer cancel()
	loaded := make(chan func(), 1)
	err := a.loads.Call(ctx, func() {
		l, diags := a.o.Load(ctx, from)
		loaded <- func() { t.want, t.diags = l, diags }
	})
	if err == nil {
		(<-loaded)()
		err = context.Cause(ctx)
	}
	return err
}

// make compares what serves with what is wanted, and reports whether nothing
// serves yet.
func (t *transaction) make() (first bool) {
	a := t.a
	a.mu.Lock()
	t.generation = a.generation + 1
	t.before = a.have
	t.plan = plan.Make(a.have, t.want.Config, a.failed())
	a.mu.Unlock()
	t.enter(Plan, t.plan.Summary())
	return t.before == nil
}

// record is what the state directory will say of the generation.
func (t *transaction) record(req Request, from *generation.Record) generation.Record {
	a := t.a
	r := generation.Record{Generation: t.generation, Time: time.Now().UTC(), Who: req.Who, Summary: t.plan.Summary(),
		Config: t.want.Source.Fingerprint(), Plugins: map[string]string{}, Vars: t.want.Source.Vars, Secrets: t.want.Source.Secrets}
	for n := range t.want.Config.Instances {
		i := &t.want.Config.Instances[n]
		if r.Plugins[i.Plugin] != i.Digest {
			r.Plugins[i.Plugin] = i.Digest
		}
	}
	if from != nil {
		r.From = from.Generation
		r.Disk = a.o.Disk()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case req.Return: // this is how a probation ends
	case a.confirm != nil:
		// What comes in during a probation is on probation too.
		c := *a.confirm
		if req.Confirm > 0 {
			c.Until = time.Now().Add(req.Confirm).UTC()
		} else {
			t.carried = a.confirm
		}
		r.Confirm = &c
	case req.Confirm > 0 && t.before != nil:
		r.Confirm = &generation.Confirm{Until: time.Now().Add(req.Confirm).UTC(), Back: a.generation}
	}
	return r
}

// keep takes over a configuration that differs in nothing that counts: places
// in files may have moved.
func (a *Applier) keep(t *transaction) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.have = t.want.Config
}

// build reserves, verifies and prepares, and meanwhile writes what the commit
// will make visible. It collects diagnostics, and returns an error when the
// generation cannot be committed.
func (t *transaction) build(ctx context.Context, resumed bool, record generation.Record) (*generation.Staged, error) {
	if resumed {
		t.generation = record.Generation
	}
	t.candidates()
	type written struct {
		*generation.Staged
		err error
	}
	var staging chan written
	if !resumed {
		staging = make(chan written, 1)
		go func() {
			s, err := t.a.o.Store.Stage(record, t.want.Source)
			staging <- written{s, err}
		}()
	}
	err := t.phases(ctx, Reserve, Verify, Prepare)
	if staging == nil {
		return nil, err
	}
	w := <-staging // a few small files
	return w.Staged, errors.Join(err, w.err)
}

// candidates makes the instances that start or replace.
func (t *transaction) candidates() {
	for _, s := range t.plan.Steps {
		if s.Op == plan.Start || s.Op == plan.Replace {
			c := t.want.Config.Find(s.Address)
			t.made = append(t.made, &candidate{config: c, level: s.Level,
				Instance: t.a.o.Instances.New(*c, t.generation, t.want.Config.Host.Start)})
		}
	}
}

// phases runs some of the phases before the commit.
func (t *transaction) phases(ctx context.Context, phases ...Phase) error {
	defer func() { t.diags.Place(t.want.Source.Text) }()
	run := map[Phase]func(context.Context) error{Reserve: t.reserve, Verify: t.verify, Prepare: t.prepare}
	for _, p := range phases {
		t.enter(p, fmt.Sprintf("%d instances", len(t.made)))
		if err := run[p](ctx); err != nil {
			return err
		}
		if t.diags.HasErrors() {
			return fmt.Errorf("%s refused the configuration", p)
		}
	}
	return nil
}

// undo gives back everything that was taken.
func (t *transaction) undo() {
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, m := range t.made {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
			defer cancel()
			m.Abort(ctx)
			t.a.o.Leases.Release(m.Owner())
			return nil
		})
	}
	_ = g.Wait()
}

// commit flips the routes, opens the gates and begins the drain of what is not
// wanted any more, which takes over the place. It cannot fail: where an
// instance does not keep its deadline, its process is started anew.
func (t *transaction) commit(ctx context.Context, p *place, confirm *generation.Confirm) *drained {
	a := t.a
	made := map[string]*candidate{}
	for _, m := range t.made {
		made[m.Address()] = m
	}
	var leaving []*leaver
	serving := map[string]*config.Instance{} // whose sockets change, by owner
	a.mu.Lock()
	for _, s := range t.plan.Steps {
		old := a.live[s.Address]
		if s.Op == plan.Replace || s.Op == plan.Stop {
			leaving = append(leaving, &leaver{Instance: old, forget: s.Op == plan.Stop})
			delete(a.live, s.Address)
		}
		if s.Op == plan.Update {
			c := t.want.Config.Find(s.Address)
			old.Update(c.Process.Restart)
			serving[old.Owner()] = c
		}
	}
	for address, m := range made {
		a.live[address] = m.Instance
		a.digests[m.Digest()]++
		serving[m.Owner()] = m.config
	}
	confirmed := t.carried != nil && a.confirm != t.carried // meanwhile
	if confirmed {
		confirm = nil
	}
	a.have, a.generation, a.confirm = t.want.Config, t.generation, confirm
	a.mu.Unlock()
	a.wake()

	if len(t.plan.Routes) > 0 || t.before == nil {
		a.o.Router.Swap(t.want.Config.Routes)
	}
	a.trails.At("routes")
	t.serve(ctx, serving, leaving)
	for level := 0; level <= t.top(); level++ {
		_ = t.each(ctx, t.level(level), t.want.Config.Host.Commit, func(ctx context.Context, m *candidate) error {
			m.Commit(ctx)
			return nil
		})
	}
	a.trails.At("gates")
	a.plans.Clear(false) // they started from a generation that has passed
	if confirmed {
		if err := a.o.Store.Confirmed(); err != nil {
			a.o.Logger.Error("the confirmation cannot be recorded", "error", err)
		}
	}
	var back uint64
	if confirm != nil {
		back = confirm.Back
	}
	a.drains.Go(func() {
		if err := a.o.Store.Prune(back); err != nil {
			a.o.Logger.Warn("an old generation cannot be removed", "error", err)
		}
	})
	a.retain()
	if len(leaving) == 0 {
		return nil
	}
	t.enter(Drain, fmt.Sprintf("%d instances, in the background", len(leaving)))
	return t.startDrain(leaving, p)
}

// serve makes the sockets of the new generation serve, and has the old one stop
// reading from those where two readers would take from each other. The
// connections that come before somebody accepts them wait in the socket.
func (t *transaction) serve(ctx context.Context, serving map[string]*config.Instance, leaving []*leaver) {
	for owner, c := range serving {
		for _, r := range c.Resources {
			if err := t.a.o.Leases.Set(ctx, owner, want(r)); err != nil {
				t.diagnose(c, r.Attribute, "The socket does not serve as it is configured", err.Error())
			}
		}
	}
	var pauses sync.WaitGroup
	for _, l := range leaving {
		if ids := t.a.o.Leases.Passed(l.Owner()); len(ids) > 0 {
			pauses.Go(func() { l.Pause(ctx, ids) })
		}
	}
	pauses.Wait()
}

// enter begins a phase.
func (t *transaction) enter(p Phase, message string) {
	if t.trail != nil {
		t.trail.Enter(string(p), t.generation, p == Load || p == Plan)
	}
	t.tell(Progress{Phase: p, Message: message})
}

func (t *transaction) tell(p Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.progress != nil {
		p.Time = time.Now()
		t.progress(p)
	}
}

// note closes a trail, and tells whoever routes the host's events.
func (a *Applier) note(t *trail.Trail, r Result) {
	t.End(observe.Reload{Outcome: string(r.Outcome), Generation: r.Generation, Elapsed: r.Elapsed, Message: r.Message}, r.Outcome == Unchanged)
	event := map[string]any{"outcome": r.Outcome, "generation": r.Generation, "message": r.Message}
	switch r.Outcome {
	case Committed:
		a.o.Router.EmitHost("reload.committed", event)
	case Invalid, RolledBack:
		a.o.Router.EmitHost("reload.refused", event)
	}
}

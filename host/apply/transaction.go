package apply

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/instance"
	"github.com/pluginhost/host/host/plan"
	"github.com/pluginhost/host/host/resource"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// parallel is how many instances are verified or prepared at once.
const parallel = 32

// undoTimeout bounds the abort of one instance.
const undoTimeout = 10 * time.Second

// transaction is one attempt to reach a generation.
type transaction struct {
	a          *Applier
	want       *config.Config
	plan       *plan.Plan
	generation uint64
	configs    map[string]config.Instance // wanted, by address

	mu       sync.Mutex
	progress func(Progress)
	diags    config.Diagnostics
	made     map[string]*candidate // by address; those that start or replace
}

// candidate is an instance that is being built.
type candidate struct {
	*instance.Instance
	config config.Instance
	level  int
	leases []resource.Lease
}

// transact runs the phases. The caller holds the slot.
func (a *Applier) transact(ctx context.Context, progress func(Progress)) Result {
	start := time.Now()
	t := &transaction{a: a, progress: progress, made: map[string]*candidate{}, configs: map[string]config.Instance{}}
	end := func(o Outcome, message string) Result {
		return Result{Outcome: o, Generation: a.Generation(), Plan: t.plan, Diagnostics: t.diags,
			Elapsed: time.Since(start), Message: message}
	}

	t.say(Load, "", "reading the configuration")
	t.want, t.diags = a.o.Load(ctx)
	if t.diags.HasErrors() {
		return end(Invalid, "the configuration has errors")
	}
	a.mu.Lock()
	t.generation = a.generation + 1
	t.plan = plan.Make(a.have, t.want, a.failed())
	first := a.have == nil
	a.mu.Unlock()
	for _, c := range t.want.Instances {
		t.configs[c.Address] = c
	}
	t.say(Plan, "", summary(t.plan))
	if t.plan.Empty() && !first {
		a.mu.Lock()
		a.have = t.want // places in files may have moved
		a.mu.Unlock()
		return end(Unchanged, "")
	}

	place, err := a.room(ctx)
	if err == nil {
		defer place.leave()
		err = t.build(ctx)
	}
	if err == nil && ctx.Err() == nil {
		err = a.record(t.generation, t.plan)
	}
	if err != nil || ctx.Err() != nil {
		t.undo()
		if ctx.Err() != nil {
			r := a.undone(ctx, start)
			r.Plan, r.Diagnostics = t.plan, t.diags
			return r
		}
		return end(RolledBack, err.Error())
	}
	// From here on everything rolls forward, whatever becomes of ctx.
	t.commit(context.WithoutCancel(ctx), place)
	return end(Committed, "")
}

// build reserves, verifies and prepares. It collects diagnostics, and returns
// an error when the generation cannot be committed.
func (t *transaction) build(ctx context.Context) error {
	for _, s := range t.plan.Steps {
		if s.Op == plan.Start || s.Op == plan.Replace {
			c := t.configs[s.Address]
			t.made[s.Address] = &candidate{config: c, level: s.Level,
				Instance: t.a.o.Instances.New(c, t.generation, t.want.Host.Start)}
		}
	}
	for _, phase := range []struct {
		name Phase
		run  func(context.Context) error
	}{{Reserve, t.reserve}, {Verify, t.verify}, {Prepare, t.prepare}} {
		if len(t.made) > 0 {
			t.say(phase.name, "", fmt.Sprintf("%d instances", len(t.made)))
		}
		if err := phase.run(ctx); err != nil {
			return err
		}
		if t.diags.HasErrors() {
			return fmt.Errorf("%s refused the configuration", phase.name)
		}
	}
	return nil
}

// reserve takes hold of every socket and file that the new instances need. What
// changes in place is only looked at: it serves.
func (t *transaction) reserve(ctx context.Context) error {
	for _, m := range t.made {
		for _, r := range m.config.Resources {
			lease, err := t.a.o.Leases.Acquire(ctx, m.Owner(), want(r))
			if err != nil {
				t.diagnose(m.config, r.Attribute, "This cannot be reserved", err.Error())
				continue
			}
			m.leases = append(m.leases, lease)
		}
	}
	for _, s := range t.plan.Steps {
		if s.Op != plan.Update {
			continue
		}
		c := t.configs[s.Address]
		for _, r := range c.Resources {
			if err := resource.Check(c.Address, want(r)); err != nil {
				t.diagnose(c, r.Attribute, "This cannot be reserved", err.Error())
			}
		}
	}
	return ctx.Err()
}

// verify asks every new instance at once.
func (t *transaction) verify(ctx context.Context) error {
	limit := t.want.Host.Start + t.want.Host.Verify
	return t.each(ctx, t.candidates(-1), limit, func(ctx context.Context, m *candidate) error {
		diags, err := m.Verify(ctx, func(p rpc.Progress) {
			t.tell(Progress{Phase: Verify, Address: m.Address(), Message: p.Message, Percent: p.Percent})
		})
		t.pluginSays(m.config, diags)
		if err == nil {
			t.tell(Progress{Phase: Verify, Address: m.Address(), Message: "verified", Done: true})
		}
		return err
	})
}

// prepare builds the new instances, level by level.
func (t *transaction) prepare(ctx context.Context) error {
	for level := 0; ; level++ {
		made := t.candidates(level)
		if len(made) == 0 && level > t.top() {
			return nil
		}
		err := t.each(ctx, made, t.want.Host.Prepare, func(ctx context.Context, m *candidate) error {
			var leases []rpc.Lease
			var listeners []string
			for n, l := range m.leases {
				r := m.config.Resources[n]
				leases = append(leases, rpc.Lease{ID: l.ID, Attribute: r.Attribute})
				if r.Kind == schema.Listener {
					listeners = append(listeners, l.Address)
				}
			}
			diags, err := m.Prepare(ctx, leases, listeners)
			t.pluginSays(m.config, diags)
			if err == nil {
				t.tell(Progress{Phase: Prepare, Address: m.Address(), Message: "prepared", Done: true})
			}
			return err
		})
		if err != nil {
			return err
		}
	}
}

// each runs f for instances in parallel, each with a deadline. An error becomes
// a diagnostic of the instance, so that all are heard of.
func (t *transaction) each(ctx context.Context, made []*candidate, limit time.Duration, f func(context.Context, *candidate) error) error {
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, m := range made {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			if err := f(ctx, m); err != nil {
				t.diagnose(m.config, "", fmt.Sprintf("%s cannot be started", m.Address()), err.Error())
			}
			return nil
		})
	}
	_ = g.Wait() // f's errors are diagnostics
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// candidates returns those of a level, or all for -1.
func (t *transaction) candidates(level int) []*candidate {
	var made []*candidate
	for _, s := range t.plan.Steps {
		if m := t.made[s.Address]; m != nil && (level < 0 || m.level == level) {
			made = append(made, m)
		}
	}
	return made
}

func (t *transaction) top() int {
	top := 0
	for _, m := range t.made {
		top = max(top, m.level)
	}
	return top
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
// wanted any more, which takes over the place. It cannot fail.
func (t *transaction) commit(ctx context.Context, p *place) {
	a := t.a
	a.mu.Lock()
	before := a.have
	live := make(map[string]*instance.Instance, len(t.configs))
	var leaving []*leaver
	serving := map[string]config.Instance{} // whose sockets change, by owner
	for _, s := range t.plan.Steps {
		old := a.live[s.Address]
		switch s.Op {
		case plan.Keep, plan.Update:
			old.Update(t.configs[s.Address].Process.Restart)
			live[s.Address] = old
			if s.Op == plan.Update {
				serving[old.Owner()] = t.configs[s.Address]
			}
		case plan.Start, plan.Replace:
			m := t.made[s.Address]
			live[s.Address] = m.Instance
			serving[m.Owner()] = m.config
		}
		if s.Op == plan.Replace || s.Op == plan.Stop {
			leaving = append(leaving, &leaver{Instance: old, forget: s.Op == plan.Stop})
		}
	}
	a.have, a.live, a.generation = t.want, live, t.generation
	a.mu.Unlock()

	t.say(Commit, "", fmt.Sprintf("generation %d", t.generation))
	a.o.Router.Swap(t.want.Routes)
	t.serve(ctx, serving, leaving)
	for level := 0; level <= t.top(); level++ {
		_ = t.each(ctx, t.candidates(level), t.want.Host.Prepare, func(ctx context.Context, m *candidate) error {
			m.Commit(ctx)
			return nil
		})
	}
	a.retain()
	if len(leaving) > 0 {
		t.say(Drain, "", fmt.Sprintf("%d instances, in the background", len(leaving)))
		a.startDrain(leaving, before, p)
	}
}

// serve makes the sockets of the new generation serve, and has the old one stop
// reading from those where two readers would take from each other. The
// connections that come before somebody accepts them wait in the socket.
func (t *transaction) serve(ctx context.Context, serving map[string]config.Instance, leaving []*leaver) {
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

// say reports a step of the transaction itself.
func (t *transaction) say(p Phase, address, message string) {
	t.tell(Progress{Phase: p, Address: address, Message: message})
}

func (t *transaction) tell(p Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.progress != nil {
		p.Time = time.Now()
		t.progress(p)
	}
}

// pluginSays adds a plugin's diagnostics, with the place of the attribute.
func (t *transaction) pluginSays(c config.Instance, diags []schema.Diagnostic) {
	for _, d := range diags {
		t.add(config.Diagnostic{Severity: d.Severity, Summary: d.Summary, Detail: d.Detail,
			Address: c.Address, Range: placeOf(c, d.Attribute)})
	}
}

func (t *transaction) diagnose(c config.Instance, attribute, summary, detail string) {
	t.add(config.Diagnostic{Severity: schema.Error, Summary: summary, Detail: detail,
		Address: c.Address, Range: placeOf(c, attribute)})
}

func (t *transaction) add(d config.Diagnostic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.diags = append(t.diags, d)
}

// placeOf finds the range of an attribute: of the resource, of its top-level
// attribute, or of the whole instance.
func placeOf(c config.Instance, attribute string) config.Range {
	for _, r := range c.Resources {
		if r.Attribute == attribute && attribute != "" {
			return r.Range
		}
	}
	top, _, _ := strings.Cut(attribute, ".")
	top, _, _ = strings.Cut(top, "[")
	if r, ok := c.Attrs[top]; ok {
		return r
	}
	return c.Range
}

// summary counts the steps of a plan.
func summary(p *plan.Plan) string {
	n := map[plan.Op]int{}
	for _, s := range p.Steps {
		n[s.Op]++
	}
	return fmt.Sprintf("%d to start, %d to replace, %d to update, %d to stop, %d kept, %d routes changed",
		n[plan.Start], n[plan.Replace], n[plan.Update], n[plan.Stop], n[plan.Keep], len(p.Routes))
}

func want(r config.Resource) resource.Want {
	return resource.Want{Attribute: r.Attribute, Kind: r.Kind, Value: r.Value, Access: r.Access}
}

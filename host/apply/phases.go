package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pluginhost/host/host/apply/internal/turn"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/plan"
	"github.com/pluginhost/host/host/resource"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// reserve takes hold of every socket and file that the new instances need, and
// only of those: what stays is held already. What changes in place is only
// looked at: it serves.
func (t *transaction) reserve(ctx context.Context) error {
	limit := t.want.Config.Host.Reserve
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("reserve took longer than %s; host { reserve_timeout } sets that", limit))
	defer cancel()
	if err := t.writePaths(); err != nil {
		return err
	}
	for _, m := range t.made {
		if name := m.config.Process.User; name != "" {
			if _, err := resource.UserID(name); err != nil {
				t.diagnose(m.config, "process.user", "There is no such user", err.Error())
			}
		}
		for _, r := range m.config.Resources {
			lease, err := t.a.o.Leases.Acquire(ctx, m.Owner(), want(r))
			if err != nil && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				t.diagnose(m.config, r.Attribute, "This cannot be reserved", err.Error())
				continue
			}
			m.leases = append(m.leases, lease)
		}
	}
	for _, c := range t.updated() {
		for _, r := range c.Resources {
			if err := resource.Check(c.Address, want(r)); err != nil {
				t.diagnose(c, r.Attribute, "This cannot be reserved", err.Error())
			}
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// writePaths writes down the paths of sockets before there are any: they outlive
// a daemon that is killed.
func (t *transaction) writePaths() error {
	path := func(r config.Resource) bool { return r.Kind == schema.Listener && r.Listen.IsPath() }
	if !slices.ContainsFunc(t.made, func(m *candidate) bool { return slices.ContainsFunc(m.config.Resources, path) }) {
		return nil
	}
	var paths []string
	for _, c := range []*config.Config{t.before, t.want.Config} {
		if c == nil {
			continue
		}
		for n := range c.Instances {
			for _, r := range c.Instances[n].Resources {
				if path(r) {
					paths = append(paths, r.Listen.Path)
				}
			}
		}
	}
	return t.a.o.Store.Sockets(paths)
}

// updated returns the wanted configuration of instances that change in place.
func (t *transaction) updated() []*config.Instance {
	var all []*config.Instance
	for _, s := range t.plan.Steps {
		if s.Op == plan.Update {
			all = append(all, t.want.Config.Find(s.Address))
		}
	}
	return all
}

// verify asks every new instance at once.
func (t *transaction) verify(ctx context.Context) error {
	limit := t.want.Config.Host.Start + t.want.Config.Host.Verify
	return t.each(ctx, t.made, limit, func(ctx context.Context, m *candidate) error {
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
	for level := 0; level <= t.top(); level++ {
		err := t.each(ctx, t.level(level), t.want.Config.Host.Prepare, func(ctx context.Context, m *candidate) error {
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
	return nil
}

// each runs f for instances in parallel, each with a deadline. An error becomes
// a diagnostic of the instance, so that all are heard of. The phase as a whole
// has as much time as they need one after the other, as many as may run at once.
func (t *transaction) each(ctx context.Context, made []*candidate, limit time.Duration, f func(context.Context, *candidate) error) error {
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, m := range made {
		if ctx.Err() != nil {
			break // nobody wants to hear of the rest
		}
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			if err := f(ctx, m); err != nil && !errors.Is(context.Cause(ctx), turn.ErrSuperseded) {
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

// level returns the candidates of a level.
func (t *transaction) level(level int) []*candidate {
	if t.top() == 0 {
		return t.made
	}
	var made []*candidate
	for _, m := range t.made {
		if m.level == level {
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

// pluginSays adds a plugin's diagnostics, with the place of the attribute.
func (t *transaction) pluginSays(c *config.Instance, diags []schema.Diagnostic) {
	for _, d := range diags {
		t.add(config.Diagnostic{Severity: d.Severity, Summary: d.Summary, Detail: d.Detail,
			Address: c.Address, Range: c.Place(d.Attribute)})
	}
}

func (t *transaction) diagnose(c *config.Instance, attribute, summary, detail string) {
	t.add(config.Diagnostic{Severity: schema.Error, Summary: summary, Detail: detail,
		Address: c.Address, Range: c.Place(attribute)})
}

func (t *transaction) add(d config.Diagnostic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.diags = append(t.diags, d)
}

func want(r config.Resource) resource.Want {
	return resource.Want{Attribute: r.Attribute, Kind: r.Kind, Value: r.Value, Access: r.Access}
}

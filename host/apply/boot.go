package apply

import (
	"context"
	"maps"

	"github.com/pluginhost/host/host/generation"
)

// Boot commits the first generation of this process: what Store.Start says, or
// the one that pick names. Where that is the last generation with the same
// executables, its number goes on and nothing is recorded. The diagnostics tell
// what was decided.
func (a *Applier) Boot(ctx context.Context, who generation.Who, pick uint64) (Result, error) {
	r, _, err := a.turn(ctx, nil, func(ctx context.Context) (Result, *drained) {
		start, err := a.o.Store.Start(pick, a.o.Disk)
		if err != nil {
			return Result{Outcome: RolledBack, Generation: a.Generation(), Message: err.Error()}, nil
		}
		a.mu.Lock()
		a.confirm = start.Confirm
		a.mu.Unlock()
		r, d := a.transact(ctx, Request{Who: who, Return: start.Return}, start.From, nil)
		if start.Why != "" {
			r.Diagnostics = append(r.Diagnostics, warning("What is served", start.Why))
		}
		return r, d
	})
	return r, err
}

// resumes reports whether a first generation is the last one of the store, and
// makes it so. Nothing has to be recorded then.
func (a *Applier) resumes(r *generation.Record) bool {
	last, ok := a.o.Store.Last()
	if !ok || last.Config != r.Config || !maps.Equal(last.Plugins, r.Plugins) || (last.Confirm == nil) != (r.Confirm == nil) {
		return false
	}
	*r = last
	return true
}

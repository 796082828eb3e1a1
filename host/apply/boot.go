package apply

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/pluginhost/host/host/generation"
)

// Boot commits the first generation of this process. What it serves is decided
// by the record on disk:
//
//   - one generation, when pick names it;
//   - the last one, while it waits for a confirmation, and the one before when
//     that time is over;
//   - the last one, when that was a return to an earlier one and the files on
//     disk are still those that were left by it;
//   - else what is on disk. That it differs from the last generation is said.
//
// Where this is the last generation with the same executables, its number goes
// on: nothing is committed. The diagnostics tell what was decided.
func (a *Applier) Boot(ctx context.Context, who generation.Who, pick uint64) (Result, error) {
	r, _, err := a.turn(ctx, func(ctx context.Context) (Result, *drained) {
		req := Request{Who: who}
		from, why, err := a.decide(&req, pick)
		if err != nil {
			return Result{Outcome: RolledBack, Generation: a.Generation(), Message: err.Error()}, nil
		}
		r, d := a.transact(ctx, req, from, nil)
		if why != "" {
			r.Diagnostics = append(r.Diagnostics, warning("What is served", why))
		}
		return r, d
	})
	return r, err
}

// decide chooses what a boot serves, nil for what is on disk, and says why.
func (a *Applier) decide(req *Request, pick uint64) (*generation.Record, string, error) {
	last, ok := a.o.Store.Last()
	get := func(n uint64) (*generation.Record, error) {
		r, err := a.o.Store.Get(n)
		return &r, err
	}
	const later = "host reload applies the files on disk."
	switch {
	case pick != 0:
		req.Return = pick != last.Generation || last.Confirm == nil
		a.wait(last.Confirm)
		r, err := get(pick)
		return r, fmt.Sprintf("The configuration of generation %d, as asked for. %s", pick, later), err
	case !ok:
		return nil, "", nil
	case last.Confirm != nil && !last.Confirm.Until.After(time.Now()):
		req.Return = true
		r, err := get(last.Confirm.Back)
		return r, fmt.Sprintf("Generation %d was to be confirmed until %s and was not: the configuration of generation %d. %s",
			last.Generation, last.Confirm.Until.Local().Format(time.DateTime), last.Confirm.Back, later), err
	case last.Confirm != nil:
		a.wait(last.Confirm)
		return &last, fmt.Sprintf("Generation %d, which waits for host confirm until %s.", last.Generation, last.Confirm.Until.Local().Format(time.DateTime)), nil
	}
	disk := a.onDisk()
	switch {
	case last.Disk != "" && last.Disk == disk && last.Config != disk:
		return &last, fmt.Sprintf("Generation %d, a return to generation %d: the files on disk are still those that were left by it. %s",
			last.Generation, last.From, later), nil
	case last.Config != disk:
		return nil, fmt.Sprintf("The files on disk, which differ from generation %d that was served last.", last.Generation), nil
	}
	return nil, "", nil
}

// wait goes on with a probation.
func (a *Applier) wait(c *generation.Confirm) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.confirm = c
}

// onDisk is the fingerprint of what is on disk.
func (a *Applier) onDisk() string {
	if a.o.Disk == nil {
		return ""
	}
	return a.o.Disk()
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

package apply

import (
	"context"
	"sync"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/generation"
	"github.com/pluginhost/host/host/plan"
	"github.com/pluginhost/host/sdk/wire"
)

// leaver is an instance that is not wanted any more.
type leaver struct {
	Instance
	forget bool // nobody takes over its address
}

// place is one of the two places for old generations that drain. A transaction
// takes one before it begins, so that a commit never waits for it.
type place struct{ old chan struct{} }

// room waits for a place.
func (a *Applier) room(ctx context.Context) (*place, error) {
	select {
	case a.old <- struct{}{}:
		return &place{a.old}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// leave gives the place back, unless somebody else has taken it over.
func (p *place) leave() {
	if p.old != nil {
		<-p.old
		p.old = nil
	}
}

// take moves the place to its new owner.
func (p *place) take() *place {
	q := &place{p.old}
	p.old = nil
	return q
}

// drained is an old generation whose instances leave; done is closed when all
// have ended.
type drained struct{ done chan struct{} }

// startDrain drains in the background and takes over p.
func (t *transaction) startDrain(leaving []*leaver, p *place) *drained {
	a := t.a
	timeout := t.before.Host.DrainTimeout
	until := time.Now().Add(timeout)
	a.mu.Lock()
	for _, l := range leaving {
		a.draining[l.Instance] = until
	}
	a.mu.Unlock()
	p = p.take()
	d := &drained{make(chan struct{})}
	a.drains.Go(func() {
		defer p.leave()
		defer close(d.done)
		a.drain(context.Background(), leaving, t.before, timeout)
		a.retain()
		t.trail.Later("drained")
		a.o.Router.EmitHost("reload.drained", map[string]any{"generation": t.generation})
		a.trails.At("drained")
	})
	return d
}

// drain ends instances, those that send events before those that receive them.
func (a *Applier) drain(ctx context.Context, leaving []*leaver, before *config.Config, timeout time.Duration) {
	byAddress := map[string]*leaver{}
	var addresses []string
	for _, l := range leaving {
		byAddress[l.Address()] = l
		addresses = append(addresses, l.Address())
	}
	end := time.Now().Add(timeout)
	for _, group := range plan.DrainOrder(addresses, before.Routes) {
		var wait sync.WaitGroup
		for _, address := range group {
			l := byAddress[address]
			wait.Go(func() {
				left := max(time.Until(end), time.Second)
				if l.forget {
					a.quiet(ctx, address, left)
				}
				a.retire(ctx, l)
				l.Drain(ctx, left)
				if l.forget && !a.serves(address) {
					a.o.Router.Forget(address, &wire.Error{Code: wire.Unavailable, Message: "the instance was removed from the configuration"})
				}
				a.o.Leases.Release(l.Owner())
				a.mu.Lock()
				delete(a.draining, l.Instance)
				if a.digests[l.Digest()]--; a.digests[l.Digest()] <= 0 {
					delete(a.digests, l.Digest())
				}
				a.mu.Unlock()
			})
		}
		wait.Wait()
	}
}

// An instance goes on to take from the queues of its sockets before its drain,
// until they have been empty for retireQuiet, and at most for retireTimeout.
const (
	retireQuiet   = 500 * time.Millisecond
	retireTimeout = 5 * time.Second
)

// retire ends the sockets that nobody takes over, and gives the instance time
// to take what still waits in them.
func (a *Applier) retire(ctx context.Context, l *leaver) {
	ctx, cancel := context.WithTimeout(ctx, retireTimeout)
	defer cancel()
	quiet := retireQuiet
	if a.queue.Closed() {
		quiet = 0
	}
	a.o.Leases.Retire(ctx, l.Owner(), quiet)
}

// quiet waits until nothing is queued for an address that loses its instance,
// so that what was accepted before is still handled.
func (a *Applier) quiet(ctx context.Context, address string, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for a.o.Router.Queued(address) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// serves reports whether a later generation brought the address back.
func (a *Applier) serves(address string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.live[address]
	return ok
}

// retain says which executables are in use.
func (a *Applier) retain() {
	a.mu.Lock()
	digests := make(map[string]bool, len(a.digests))
	for d := range a.digests {
		digests[d] = true
	}
	a.mu.Unlock()
	a.o.Retain(digests)
}

// Shutdown gives up what runs and waits, then is the last transaction: it stops
// every instance, and returns when all have ended. ctx cuts the drain short.
func (a *Applier) Shutdown(ctx context.Context, who generation.Who) {
	a.plans.Clear(true)
	a.queue.Close() // whoever runs is undone, or committed, first
	a.mu.Lock()
	have := a.have
	a.mu.Unlock()
	if have != nil {
		start := time.Now()
		t := &transaction{a: a, before: have, generation: a.Generation(), trail: a.trails.Begin(who)}
		t.plan = plan.Make(have, nil, nil)
		t.trail.Summary(t.plan.Summary())
		t.enter(Drain, "")
		var leaving []*leaver
		a.mu.Lock()
		for _, s := range t.plan.Steps {
			leaving = append(leaving, &leaver{Instance: a.live[s.Address]})
			a.draining[a.live[s.Address]] = start.Add(have.Host.DrainTimeout)
		}
		a.mu.Unlock()
		a.drain(ctx, leaving, have, have.Host.DrainTimeout)
		a.retain()
		a.note(t.trail, Result{Outcome: Stopped, Generation: t.generation, Elapsed: time.Since(start)})
	}
	a.drains.Wait()
	a.loads.Wait(ctx)
}

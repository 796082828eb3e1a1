package apply

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/instance"
	"github.com/pluginhost/host/host/plan"
	"github.com/pluginhost/host/sdk/wire"
)

// leaver is an instance that is not wanted any more.
type leaver struct {
	*instance.Instance
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

// startDrain drains in the background and takes over p.
func (a *Applier) startDrain(leaving []*leaver, before *config.Config, p *place) {
	timeout := before.Host.DrainTimeout
	until := time.Now().Add(timeout)
	a.mu.Lock()
	for _, l := range leaving {
		a.draining[l.Instance] = until
	}
	a.mu.Unlock()
	p = p.take()
	a.drains.Go(func() {
		defer p.leave()
		a.drain(context.Background(), leaving, before, timeout)
		a.retain()
	})
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
				a.mu.Unlock()
			})
		}
		wait.Wait()
	}
}

// retireTimeout bounds how long an instance goes on to take from the queues of
// its sockets before its drain.
const retireTimeout = 2 * time.Second

// retire ends the sockets that nobody takes over, and gives the instance time
// to take what still waits in them.
func (a *Applier) retire(ctx context.Context, l *leaver) {
	ctx, cancel := context.WithTimeout(ctx, retireTimeout)
	defer cancel()
	a.o.Leases.Retire(ctx, l.Owner())
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
	_, ok := a.Instance(address)
	return ok
}

// retain says which executables are in use.
func (a *Applier) retain() {
	digests := map[string]bool{}
	a.mu.Lock()
	for _, i := range a.live {
		digests[i.Digest()] = true
	}
	for i := range a.draining {
		digests[i.Digest()] = true
	}
	a.mu.Unlock()
	a.o.Retain(digests)
}

// Shutdown gives up what runs and waits, drains every instance, and returns
// when all have ended. ctx cuts the drain short.
func (a *Applier) Shutdown(ctx context.Context) {
	a.mu.Lock()
	a.closed = true
	for _, t := range []*turn{a.waiting, a.running} {
		if t != nil {
			t.cancel(errClosed)
		}
	}
	a.mu.Unlock()
	a.slot <- struct{}{} // whoever runs is undone, or committed, first
	a.mu.Lock()
	have := a.have
	var leaving []*leaver
	for _, i := range a.live {
		leaving = append(leaving, &leaver{Instance: i})
		a.draining[i] = time.Time{}
	}
	a.mu.Unlock()
	if have != nil {
		slices.SortFunc(leaving, func(x, y *leaver) int { return compareText(x.Address(), y.Address()) })
		a.drain(ctx, leaving, have, have.Host.DrainTimeout)
	}
	a.drains.Wait()
}

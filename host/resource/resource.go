// Package resource knows which sockets and files the instances hold. A
// resource is the same when its key is the same; a lease on it passes from one
// generation to the next without being closed. The descriptors themselves are
// the spawner's; host/apply acquires and releases.
package resource

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/sdk/schema"
)

// releaseTimeout bounds the spawner's answer to the end of a lease.
const releaseTimeout = 5 * time.Second

// Want is a socket or file that an instance asks for.
type Want struct {
	Attribute string      // that asks, for example listen
	Kind      schema.Kind // Listener or File
	Value     string      // tcp://127.0.0.1:80, or an absolute path
	Access    string      // of a file: read, append, write or directory
}

// Lease is a held resource.
type Lease struct {
	ID      string // names it to the spawner and the plugin
	Key     string // canonical, for people too: tcp 127.0.0.1:8080
	Address string // what was really bound, with the port chosen for :0
}

// Table holds the leases by key.
type Table struct {
	spawner *spawner.Client

	mu   sync.Mutex
	held map[string]*holding // by key
}

// holding is one resource and who holds it. ready is closed when lease or err
// is set; until then only owners may be touched.
type holding struct {
	lease  Lease
	err    error
	ready  chan struct{}
	owners map[string]int // how many attributes of each owner
}

// NewTable returns an empty table.
func NewTable(sp *spawner.Client) *Table {
	return &Table{spawner: sp, held: map[string]*holding{}}
}

// Acquire returns the lease of r for an owner (an instance's address with the
// life it is in, for example http.orders@7), binding or opening it when nobody
// holds its key yet. Two owners may hold one lease while one takes over from
// the other; that two owners of one generation never do is for the caller to
// see to, with Key. The error is a *BusyError, *DeniedError or other that says
// what to do.
func (t *Table) Acquire(ctx context.Context, owner string, r Want) (Lease, error) {
	w, err := parse(addressOf(owner), r)
	if err != nil {
		return Lease{}, err
	}
	t.mu.Lock()
	h := t.held[w.key]
	first := h == nil
	if first {
		h = &holding{ready: make(chan struct{}), owners: map[string]int{}}
		t.held[w.key] = h
	}
	h.owners[owner]++
	t.mu.Unlock()
	if !first {
		select {
		case <-h.ready:
			return h.lease, h.err // one who failed is not held any more
		case <-ctx.Done():
			t.drop(w.key, h, owner)
			return Lease{}, context.Cause(ctx)
		}
	}
	h.lease, h.err = t.obtain(ctx, w)
	if h.err != nil {
		h.err = explain(w, h.err)
		t.mu.Lock()
		if t.held[w.key] == h {
			delete(t.held, w.key)
		}
		t.mu.Unlock()
	}
	close(h.ready)
	return h.lease, h.err
}

// obtain asks the spawner.
func (t *Table) obtain(ctx context.Context, w wanted) (Lease, error) {
	l := Lease{Key: w.key}
	var err error
	if w.open != nil {
		l.Address = w.open.Path
		l.ID, err = t.spawner.Open(ctx, *w.open)
		return l, err
	}
	l.ID, l.Address, err = t.spawner.Bind(ctx, *w.bind)
	if err == nil {
		l.Address = w.scheme + "://" + l.Address
	}
	return l, err
}

// Release gives up all leases of an owner; those that nobody else holds are
// closed. It is safe to call twice.
func (t *Table) Release(owner string) {
	t.mu.Lock()
	held := make(map[string]*holding)
	for key, h := range t.held {
		if h.owners[owner] > 0 {
			held[key] = h
		}
	}
	t.mu.Unlock()
	for key, h := range held {
		t.drop(key, h, owner)
	}
}

// drop takes an owner from a holding and closes it when it was the last.
func (t *Table) drop(key string, h *holding, owner string) {
	t.mu.Lock()
	delete(h.owners, owner)
	last := len(h.owners) == 0 && t.held[key] == h
	if last {
		delete(t.held, key)
	}
	t.mu.Unlock()
	if !last {
		return
	}
	<-h.ready // bounded by the ctx of whoever binds
	if h.err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	_ = t.spawner.Release(ctx, h.lease.ID) // a spawner that is gone has closed it
}

// List returns what is held, by key.
func (t *Table) List() []Lease {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Lease
	for _, h := range t.held {
		select {
		case <-h.ready:
			all = append(all, h.lease)
		default:
		}
	}
	slices.SortFunc(all, func(a, b Lease) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return all
}

// Key returns the canonical key of a resource for an instance address, or an
// error that says what is wrong with the value.
func Key(address string, r Want) (string, error) {
	w, err := parse(address, r)
	return w.key, err
}

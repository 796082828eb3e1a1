// Package resource knows which sockets and files the instances hold. A
// resource is the same when its key is the same; a lease on it passes from one
// generation to the next without being closed. The descriptors themselves are
// the spawner's; host/apply acquires and releases.
//
// A lease goes through four calls. Acquire reserves it: nobody else can have
// the address, and nothing arrives yet. Set, at the commit, makes the socket
// serve, and changes what can be changed in place on one that serves already.
// Retire, when its owner leaves, keeps what is new away from a socket that
// nobody takes over, until what waits in it has been taken. Release ends it.
package resource

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/client"
	"github.com/pluginhost/host/sdk/schema"
)

// The spawner answers at once; these bound how long it is waited for where
// nobody else does.
const (
	bindTimeout    = 10 * time.Second
	releaseTimeout = 5 * time.Second
)

// Want is a socket or file that an instance asks for.
type Want struct {
	Attribute string      // that asks, for example listen
	Kind      schema.Kind // Listener or File
	Value     string      // tcp://127.0.0.1:80?backlog=64, or an absolute path
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
	spawner *client.Client

	mu     sync.Mutex
	held   map[string]*holding          // by key, without those that are retired
	owned  map[string]map[*holding]bool // by owner
	placed map[string]map[*holding]bool // listeners by what they must share to collide, until they are closed
}

// holding is one resource and who holds it. ready is closed when lease or err
// is set; until then only owners may be touched.
type holding struct {
	want    wanted
	lease   Lease
	err     error
	ready   chan struct{}
	owners  map[string]bool // whether each is leaving
	retired chan struct{}   // set when all are, closed when nothing new arrives
	ending  bool            // nobody owns it, and closed will be closed
	closed  chan struct{}   // closed when the descriptor is

	setting  sync.Mutex // held while the socket is set
	settings spawner.Settings
	serves   bool
}

// NewTable returns an empty table.
func NewTable(sp *client.Client) *Table {
	return &Table{spawner: sp, held: map[string]*holding{}, owned: map[string]map[*holding]bool{}, placed: map[string]map[*holding]bool{}}
}

// Acquire returns the lease of r for an owner (an instance's address with the
// life it is in, for example http.orders@7), binding or opening it when nobody
// holds its key yet. Two owners may hold one lease while one takes over from
// the other, and overlapping ones: that two owners of one generation never do
// is for the caller to see to. When ctx ends nothing is held. The error is a
// *BusyError, *DeniedError, *UserError or other that says what to do.
func (t *Table) Acquire(ctx context.Context, owner string, r Want) (Lease, error) {
	w, err := parse(owner, r)
	if err != nil {
		return Lease{}, err
	}
	for {
		lease, err, again := t.acquire(ctx, owner, w)
		if !again {
			return lease, err
		}
	}
}

// acquire is one try. It is to be repeated when whoever was about to bind the
// same gave up.
func (t *Table) acquire(ctx context.Context, owner string, w wanted) (l Lease, err error, again bool) {
	t.mu.Lock()
	h := t.held[w.key]
	first := h == nil
	var over []*holding
	if first {
		h = &holding{want: w, ready: make(chan struct{}), closed: make(chan struct{}), owners: map[string]bool{}}
		over = t.overlapping(h)
		t.held[w.key] = h
		index(t.placed, w.place(), h)
	}
	h.owners[owner] = false
	index(t.owned, owner, h)
	t.mu.Unlock()
	if !first {
		select {
		case <-h.ready:
			var other *abandoned
			if errors.As(h.err, &other) && ctx.Err() == nil {
				return Lease{}, nil, true
			}
			return h.lease, h.err, false // one that failed is not held any more
		case <-ctx.Done():
			t.drop(h, owner)
			return Lease{}, context.Cause(ctx), false
		}
	}
	h.lease, h.err = t.obtain(ctx, w, over)
	if h.err != nil {
		t.forget(h)
	}
	h.settings = w.settings()
	close(h.ready)
	if h.err == nil && ctx.Err() != nil {
		t.drop(h, owner)
		return Lease{}, context.Cause(ctx), false
	}
	return h.lease, h.err, false
}

// abandoned is the error of one who gave up before it was known.
type abandoned struct{ error }

// Unwrap returns the cause.
func (e *abandoned) Unwrap() error { return e.error }

// overlapping returns those that have to make room for h. t.mu is held.
func (t *Table) overlapping(h *holding) []*holding {
	var over []*holding
	for other := range t.placed[h.want.place()] {
		if other.want.listen.Collides(h.want.listen) {
			over = append(over, other)
		}
	}
	return over
}

// obtain asks the spawner. It does not give up while the spawner is at it: the
// address would be taken a moment longer than it is held, and nobody knew.
func (t *Table) obtain(ctx context.Context, w wanted, over []*holding) (Lease, error) {
	l := Lease{Key: w.key}
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), bindTimeout)
	defer cancel()
	if w.open != nil {
		l.Address = w.open.Path
		id, err := t.spawner.Open(asking, *w.open)
		l.ID = id
		return l, t.explain(ctx, w, err)
	}
	b := *w.bind
	b.Key = w.key // under which the next daemon finds it, when this one crashes
	for _, o := range over {
		wait := o.ready
		t.mu.Lock()
		switch {
		case o.ending:
			wait = o.closed
		case o.retired != nil:
			wait = o.retired
		}
		t.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return l, &abandoned{context.Cause(ctx)}
		}
		// One that is closed by now is no trouble to the spawner. The path of a
		// unix socket that is left is free.
		if wait != o.closed && o.err == nil && !w.listen.IsPath() {
			b.Over = append(b.Over, o.lease.ID)
		}
	}
	id, at, err := t.spawner.Bind(asking, b)
	l.ID, l.Address = id, w.listen.Network+"://"+at
	return l, t.explain(ctx, w, err)
}

// place is empty for what never collides.
func (w wanted) place() string {
	if w.bind == nil {
		return ""
	}
	return w.listen.Place()
}

func (w wanted) settings() spawner.Settings {
	if w.bind == nil {
		return spawner.Settings{}
	}
	return w.bind.Settings
}

// Check says what is wrong with r without asking for it.
func Check(owner string, r Want) error {
	_, err := parse(owner, r)
	return err
}

// Set makes the socket of r, which the owner holds, serve with the settings of
// r. One that serves is not closed for it. It does nothing for a file. ctx
// bounds the call.
func (t *Table) Set(ctx context.Context, owner string, r Want) error {
	w, err := parse(owner, r)
	if err != nil || w.bind == nil {
		return err
	}
	t.mu.Lock()
	h := t.held[w.key]
	if h != nil {
		if _, ok := h.owners[owner]; !ok {
			h = nil
		}
	}
	t.mu.Unlock()
	if h == nil {
		return &spawner.Error{Kind: spawner.Missing, Message: owner + " does not hold " + w.key}
	}
	select {
	case <-h.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if h.err != nil {
		return h.err
	}
	h.setting.Lock()
	defer h.setting.Unlock()
	if h.serves && h.settings == w.settings() {
		return nil
	}
	if err := t.spawner.Set(ctx, h.lease.ID, w.settings()); err != nil {
		return t.explain(ctx, w, err)
	}
	h.settings, h.serves = w.settings(), true
	return nil
}

const retirePoll = 10 * time.Millisecond

// Retire says that an owner is about to leave. What it alone holds gets nothing
// new any more; Retire returns when the queues of those sockets have been empty
// for a while, so that the owner may stop taking from them, or when ctx ends.
// The while is for handshakes that have begun: their last packet is on its way.
// Somebody who acquires the same from now on gets a socket of its own.
func (t *Table) Retire(ctx context.Context, owner string, while time.Duration) {
	t.mu.Lock()
	var ending []*holding
	for h := range t.owned[owner] {
		h.owners[owner] = true
		if h.want.bind != nil && h.leaving() {
			if t.held[h.want.key] == h {
				delete(t.held, h.want.key)
			}
			if h.retired == nil {
				h.retired = make(chan struct{})
			}
			ending = append(ending, h)
		}
	}
	t.mu.Unlock()
	var quiet time.Time
	for first := true; len(ending) > 0; first = false {
		for _, h := range ending {
			<-h.ready // bounded by the ctx of whoever binds
			waiting, err := false, h.err
			if err == nil {
				waiting, err = t.spawner.Retire(ctx, h.lease.ID)
			}
			if err == nil && waiting || first {
				quiet = time.Now().Add(while)
			}
			if first {
				t.mu.Lock()
				select {
				case <-h.retired:
				default:
					close(h.retired)
				}
				t.mu.Unlock()
			}
		}
		if time.Now().After(quiet) {
			return
		}
		select {
		case <-time.After(retirePoll):
		case <-ctx.Done():
			return
		}
	}
}

// leaving reports whether all owners leave. The table's lock is held.
func (h *holding) leaving() bool {
	for _, leaving := range h.owners {
		if !leaving {
			return false
		}
	}
	return true
}

// Passed returns the ids of the datagram sockets that the owner, who leaves,
// has in common with one who stays. Only one of the two may read.
func (t *Table) Passed(owner string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ids []string
	for h := range t.owned[owner] {
		if h.want.bind == nil || h.want.listen.Network == "tcp" || h.want.listen.Network == "unix" || len(h.owners) < 2 {
			continue
		}
		select {
		case <-h.ready:
			ids = append(ids, h.lease.ID)
		default:
		}
	}
	return ids
}

// Release gives up all leases of an owner; those that nobody else holds are
// closed. It is safe to call twice.
func (t *Table) Release(owner string) {
	t.mu.Lock()
	held := slices.Collect(maps.Keys(t.owned[owner]))
	t.mu.Unlock()
	for _, h := range held {
		t.drop(h, owner)
	}
}

// drop takes an owner from a holding and closes it when it was the last.
func (t *Table) drop(h *holding, owner string) {
	t.mu.Lock()
	_, had := h.owners[owner]
	delete(h.owners, owner)
	unindex(t.owned, owner, h)
	last := had && len(h.owners) == 0 && !h.ending
	if last {
		h.ending = true
		if t.held[h.want.key] == h {
			delete(t.held, h.want.key)
		}
	}
	t.mu.Unlock()
	if !last {
		return
	}
	<-h.ready // bounded by the ctx of whoever binds
	if h.err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
		defer cancel()
		_ = t.spawner.Release(ctx, h.lease.ID) // a spawner that is gone has closed it
	}
	t.forget(h)
}

// forget takes a holding that has no descriptor, or none any more, out of the
// table.
func (t *Table) forget(h *holding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held[h.want.key] == h {
		delete(t.held, h.want.key)
	}
	for owner := range h.owners {
		unindex(t.owned, owner, h)
	}
	unindex(t.placed, h.want.place(), h)
	if h.ending {
		select {
		case <-h.closed:
		default:
			close(h.closed)
		}
	}
}

func index(m map[string]map[*holding]bool, key string, h *holding) {
	if key == "" {
		return
	}
	if m[key] == nil {
		m[key] = map[*holding]bool{}
	}
	m[key][h] = true
}

func unindex(m map[string]map[*holding]bool, key string, h *holding) {
	delete(m[key], h)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}

// List returns what is held, by key.
func (t *Table) List() []Lease {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Lease
	for _, key := range slices.Sorted(maps.Keys(t.held)) {
		h := t.held[key]
		select {
		case <-h.ready:
			all = append(all, h.lease)
		default:
		}
	}
	return all
}

package apply

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/instance"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/plan"
	"github.com/pluginhost/host/host/resource"
	"github.com/pluginhost/host/host/route"
)

// Options configure an Applier.
type Options struct {
	// Load reads the configuration on disk against the plugins there are now.
	Load      func(ctx context.Context) (*config.Config, config.Diagnostics)
	Instances *instance.Set
	Leases    *resource.Table
	Router    *route.Router
	StateDir  string
	// Retain is told which executables, by digest, are still in use.
	Retain func(digests map[string]bool)
	Log    hclog.Logger
}

// Applier takes the daemon from generation to generation. One reload runs and
// one waits; a newer one takes the place of both, unless the running one has
// passed its commit.
type Applier struct {
	o      Options
	slot   chan struct{}  // held by whoever runs
	old    chan struct{}  // held by each old generation that drains, at most two
	drains sync.WaitGroup // one per old generation

	mu      sync.Mutex
	running *turn
	waiting *turn
	closed  bool

	// What is serving. Changed only by whoever holds the slot.
	have       *config.Config
	live       map[string]*instance.Instance
	generation uint64
	draining   map[*instance.Instance]time.Time // until when
	last       *observe.Reload
}

// turn is one reload's place in the order.
type turn struct{ cancel context.CancelCauseFunc }

var (
	errSuperseded = errors.New("a newer reload took its place")
	errClosed     = errors.New("the daemon is stopping")
)

// New returns an applier with nothing serving. It continues the numbers of the
// generations recorded in the state directory.
func New(o Options) (*Applier, error) {
	r, err := readRecord(o.StateDir)
	if err != nil {
		return nil, err
	}
	return &Applier{o: o, slot: make(chan struct{}, 1), old: make(chan struct{}, 2), generation: r.Generation,
		live: map[string]*instance.Instance{}, draining: map[*instance.Instance]time.Time{}}, nil
}

// Reload applies the configuration on disk: all of it or nothing. It returns
// when the new generation is serving, while the old one drains. progress, which
// may be nil, is called by one goroutine at a time. When ctx ends before the
// commit all is undone.
func (a *Applier) Reload(ctx context.Context, progress func(Progress)) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	me := &turn{cancel: cancel}
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return Result{}, errClosed
	}
	for _, t := range []*turn{a.waiting, a.running} {
		if t != nil {
			t.cancel(errSuperseded)
		}
	}
	a.waiting = me
	a.mu.Unlock()

	select {
	case a.slot <- struct{}{}:
	case <-ctx.Done():
		a.leave(me)
		return a.undone(ctx, time.Now()), nil
	}
	defer func() { <-a.slot }()
	a.mu.Lock()
	if a.waiting == me {
		a.waiting = nil
	}
	a.running = me
	a.mu.Unlock()
	defer a.leave(me)

	result := a.transact(ctx, progress)
	a.note(result)
	return result, nil
}

// leave gives up a turn.
func (a *Applier) leave(me *turn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == me {
		a.waiting = nil
	}
	if a.running == me {
		a.running = nil
	}
}

// undone is the result of a reload that was given up.
func (a *Applier) undone(ctx context.Context, start time.Time) Result {
	r := Result{Outcome: RolledBack, Generation: a.Generation(), Elapsed: time.Since(start),
		Message: context.Cause(ctx).Error()}
	if errors.Is(context.Cause(ctx), errSuperseded) {
		r.Outcome = Superseded
	}
	return r
}

// note keeps how a reload ended, and tells whoever routes the host's events.
func (a *Applier) note(r Result) {
	a.mu.Lock()
	a.last = &observe.Reload{Time: time.Now(), Outcome: string(r.Outcome), Generation: r.Generation,
		Elapsed: r.Elapsed, Message: r.Message}
	a.mu.Unlock()
	event := map[string]any{"outcome": r.Outcome, "generation": r.Generation, "message": r.Message}
	switch r.Outcome {
	case Committed:
		a.o.Router.EmitHost("reload.committed", event)
	case Invalid, RolledBack:
		a.o.Router.EmitHost("reload.refused", event)
	}
}

// Plan says what Reload would do now, and changes nothing.
func (a *Applier) Plan(ctx context.Context) (Result, error) {
	start := time.Now()
	want, diags := a.o.Load(ctx)
	r := Result{Outcome: Unchanged, Generation: a.Generation(), Diagnostics: diags}
	if diags.HasErrors() {
		r.Outcome = Invalid
	} else {
		a.mu.Lock()
		r.Plan = plan.Make(a.have, want, a.failed())
		a.mu.Unlock()
		if !r.Plan.Empty() {
			r.Outcome = Committed
		}
	}
	r.Elapsed = time.Since(start)
	return r, nil
}

// failed lists the instances that ended for good. a.mu is held.
func (a *Applier) failed() map[string]bool {
	failed := map[string]bool{}
	for address, i := range a.live {
		if i.State() == instance.Failed {
			failed[address] = true
		}
	}
	return failed
}

// Generation returns the number of the generation that is serving.
func (a *Applier) Generation() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.generation
}

// Instance returns the instance that serves an address.
func (a *Applier) Instance(address string) (*instance.Instance, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, ok := a.live[address]
	return i, ok
}

// Config returns the configuration that is serving, nil before the first.
func (a *Applier) Config() *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.have
}

// Status adds what the applier knows to s.
func (a *Applier) Status(s *observe.Status) {
	a.mu.Lock()
	s.Generation, s.LastReload = a.generation, a.last
	live := slices.Collect(maps.Values(a.live))
	draining := maps.Clone(a.draining)
	a.mu.Unlock()
	for _, i := range live {
		s.Instances = append(s.Instances, i.Status())
	}
	slices.SortFunc(s.Instances, func(x, y observe.Instance) int { return compareText(x.Address, y.Address) })
	for i, until := range draining {
		st := i.Status()
		s.Draining = append(s.Draining, observe.Draining{Address: st.Address, Generation: st.Generation,
			Pid: st.Pid, InFlight: st.InFlight, Until: until})
	}
	slices.SortFunc(s.Draining, func(x, y observe.Draining) int { return compareText(x.Address, y.Address) })
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

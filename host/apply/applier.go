package apply

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/apply/internal/hold"
	"github.com/pluginhost/host/host/apply/internal/trail"
	"github.com/pluginhost/host/host/apply/internal/turn"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/generation"
	"github.com/pluginhost/host/host/instance"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/schema"
)

// Options configure an Applier.
type Options struct {
	// Load reads the configuration on disk, or that of an earlier generation,
	// against the plugins there are now. Its ctx bounds the call.
	Load func(ctx context.Context, of *generation.Record) (Loaded, config.Diagnostics)
	// Disk returns the fingerprint of what is on disk.
	Disk      func() string
	Instances Instances
	Leases    Leases
	Router    Router
	Store     *generation.Store
	Log       *generation.Log
	// Retain is told which executables, by digest, are still in use.
	Retain func(digests map[string]bool)
	// Connections, when not nil, counts the open connections of listeners.
	Connections func(listeners []string) map[string]int
	Logger      hclog.Logger
	// Began and Ended, when not nil, are called around each transaction.
	Began func()
	Ended func(observe.Reload)
	// Arrow, when not nil, is called at each transition with its name; tests
	// end the daemon in it.
	Arrow func(name string)
}

// Loaded is a configuration with what it was made of.
type Loaded struct {
	Config *config.Config // nil when there are errors
	Source generation.Source
}

// Applier takes the daemon from generation to generation. One reload runs and
// one waits; a newer one takes the place of both, unless the running one has
// passed its commit.
type Applier struct {
	o       Options
	queue   *turn.Queue
	loads   *turn.Patience
	trails  *trail.Book
	plans   hold.Plans
	old     chan struct{}  // held by each old generation that drains, at most two
	drains  sync.WaitGroup // one per old generation
	changed chan struct{}  // to Run: there is another time to wake up

	mu sync.Mutex
	// What is serving. Changed only by whoever has the turn.
	have       *config.Config
	live       map[string]Instance // by address
	generation uint64
	confirm    *generation.Confirm
	digests    map[string]int         // of executables in use: by how many instances
	draining   map[Instance]time.Time // until when
}

// New returns an applier with nothing serving. It continues the numbers of the
// store's generations. Boot it, then Run it.
func New(o Options) *Applier {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	last, _ := o.Store.Last()
	return &Applier{o: o, queue: turn.NewQueue(), loads: turn.NewPatience(2),
		trails: &trail.Book{Log: o.Log, Emit: o.Router.EmitHost, Arrow: o.Arrow, Began: o.Began, Ended: o.Ended},
		old:    make(chan struct{}, 2), changed: make(chan struct{}, 1),
		generation: last.Generation, live: map[string]Instance{}, digests: map[string]int{}, draining: map[Instance]time.Time{}}
}

// Reload applies the configuration on disk, or what the request says: all of it
// or nothing. It returns when the new generation is serving, while the old one
// drains. progress, which may be nil, is called by one goroutine at a time.
// When ctx ends before the commit all is undone.
func (a *Applier) Reload(ctx context.Context, req Request, progress func(Progress)) (Result, error) {
	try := func(ctx context.Context, progress func(Progress)) (Result, *drained) {
		from, err := a.from(req)
		if err != nil {
			return Result{Outcome: RolledBack, Generation: a.Generation(), Message: err.Error()}, nil
		}
		return a.transact(ctx, req, from, progress)
	}
	r, drained, err := a.turn(ctx, func(ctx context.Context) { try(ctx, nil) },
		func(ctx context.Context) (Result, *drained) { return try(ctx, progress) })
	if err == nil && req.Wait && drained != nil {
		select {
		case <-drained.done:
			r.Drained = true
		case <-ctx.Done():
			r.Message = "old instances still drain"
		}
	}
	return r, err
}

// turn runs f when it is its turn; again stands for it when it lost that to one
// whose caller has gone.
func (a *Applier) turn(ctx context.Context, again func(context.Context), f func(context.Context) (Result, *drained)) (r Result, d *drained, err error) {
	start := time.Now()
	err = a.queue.Take(ctx, again, func(ctx context.Context) bool {
		r, d = f(ctx)
		return ctx.Err() == nil || r.Outcome == Committed
	})
	if err != nil && !errors.Is(err, turn.ErrClosed) {
		return a.undone(err, start), nil, nil
	}
	return r, d, err
}

// from finds the generation to return to, nil for what is on disk.
func (a *Applier) from(req Request) (*generation.Record, error) {
	if !req.Return {
		return nil, nil
	}
	r, err := a.o.Store.Get(req.To)
	if req.To == 0 {
		r, err = a.o.Store.Before(a.Generation())
	}
	return &r, err
}

// undone is the result of a reload that was given up.
func (a *Applier) undone(cause error, start time.Time) Result {
	r := Result{Outcome: RolledBack, Generation: a.Generation(), Elapsed: time.Since(start), Message: cause.Error()}
	if errors.Is(cause, turn.ErrSuperseded) {
		r.Outcome = Superseded
	}
	return r
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

// Config returns the configuration that is serving, nil before the first.
func (a *Applier) Config() *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.have
}

// Status adds what the applier knows to s.
func (a *Applier) Status(s *observe.Status) {
	a.trails.Status(s)
	a.mu.Lock()
	s.Generation = a.generation
	if a.confirm != nil {
		s.Confirm = &observe.Confirm{Until: a.confirm.Until, Back: a.confirm.Back}
	}
	live := make([]Instance, 0, len(a.live))
	for _, i := range a.live {
		live = append(live, i)
	}
	type leaving struct {
		Instance
		until time.Time
	}
	draining := make([]leaving, 0, len(a.draining))
	for i, until := range a.draining {
		draining = append(draining, leaving{i, until})
	}
	a.mu.Unlock()
	for _, i := range live {
		s.Instances = append(s.Instances, i.Status())
	}
	slices.SortFunc(s.Instances, func(x, y observe.Instance) int { return strings.Compare(x.Address, y.Address) })
	for _, i := range draining {
		st := i.Status()
		s.Draining = append(s.Draining, observe.Draining{Address: st.Address, Generation: st.Generation,
			Pid: st.Pid, InFlight: st.InFlight, Until: i.until})
	}
	slices.SortFunc(s.Draining, func(x, y observe.Draining) int { return strings.Compare(x.Address, y.Address) })
}

// warning is something to tell that has no place in a file.
func warning(summary, detail string) config.Diagnostic {
	return config.Diagnostic{Severity: schema.Warning, Summary: summary, Detail: detail}
}

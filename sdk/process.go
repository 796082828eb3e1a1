package sdk

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/sdk/internal/failure"
	"github.com/pluginhost/host/sdk/internal/lease"
	"github.com/pluginhost/host/sdk/internal/promise"
	"github.com/pluginhost/host/sdk/internal/typed"
	"github.com/pluginhost/host/sdk/internal/work"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// process is the plugin's side of the contract: it implements rpc.Control for
// the instances of one process and carries their events over the lane.
type process struct {
	manifest schema.Manifest
	index    map[string]uint32 // of events in the manifest
	actions  []string
	build    builder
	lane     *wire.Lane
	promises promise.Table
	crew     *work.Crew
	slab     work.Slab    // of the goroutine that reads the lane
	lends    bool         // to a handler
	waiting  atomic.Int32 // goroutines that wait for a promise
	eager    atomic.Int32 // emits that go out at once
	leases   *lease.Store
	clock    clock
	log      hclog.Logger
	stdout   io.Writer
	ended    chan error // why run ends; a place for one

	mu        sync.Mutex
	instances map[uint32]*instance
	addresses map[*instance]string
}

// builder is what is left of a Plugin without its type parameter.
type builder interface {
	verify(ctx context.Context, config []byte, progress func(string, int)) error
	make(ctx context.Context, config []byte, leases map[string]*os.File, env *Env) (*Instance, *typed.Values, error)
}

// author is the builder of a Plugin[C].
type author[C any] struct {
	plugin Plugin[C]
	config *typed.Settings
}

func (a author[C]) verify(ctx context.Context, config []byte, progress func(string, int)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = failure.Panicked("Verify", v)
		}
	}()
	var c C
	d := &typed.Values{}
	if err := d.Decode(a.config, config, reflect.ValueOf(&c).Elem()); err != nil {
		return err
	}
	if a.plugin.Verify == nil {
		return nil
	}
	return a.plugin.Verify(ctx, c, progress)
}

func (a author[C]) make(ctx context.Context, config []byte, leases map[string]*os.File, env *Env) (in *Instance, d *typed.Values, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = failure.Panicked("New", v)
		}
		if err != nil {
			d.Close()
		}
	}()
	var c C
	d = &typed.Values{Leases: leases}
	if err := d.Decode(a.config, config, reflect.ValueOf(&c).Elem()); err != nil {
		return nil, d, err
	}
	if a.plugin.New == nil {
		return &Instance{}, d, nil
	}
	in, err = a.plugin.New(ctx, c, env)
	if err == nil && in == nil {
		err = errors.New("function New returned no instance")
	}
	return in, d, err
}

// meanings are the types of this package whose values mean something to host.
var meanings = map[reflect.Type]schema.Kind{
	reflect.TypeFor[Bytes]():       schema.Bytes,
	reflect.TypeFor[Secret]():      schema.Secret,
	reflect.TypeFor[Executable]():  schema.Executable,
	reflect.TypeFor[InstanceRef](): schema.Instance,
}

// newProcess reads a Plugin. An error is a fault of its author.
func newProcess[C any](p Plugin[C]) (*process, error) {
	config, err := typed.Of(reflect.TypeFor[C](), meanings)
	if err != nil {
		return nil, err
	}
	s := &process{index: map[string]uint32{}, instances: map[uint32]*instance{}, addresses: map[*instance]string{},
		leases: lease.NewStore(), build: author[C]{p, config},
		manifest: schema.Manifest{Name: p.Name, Version: p.Version, Doc: p.Doc, Config: config.Fields, Capabilities: p.Capabilities}}
	s.crew = work.NewCrew(s.late)
	s.promises.Full = s.full
	for _, e := range p.Events {
		d, err := e.declare()
		if err != nil {
			return nil, err
		}
		s.manifest.Events = append(s.manifest.Events, d)
		s.index[d.Name] = uint32(len(s.index))
	}
	for _, a := range p.Actions {
		d, err := a.declare()
		if err != nil {
			return nil, err
		}
		s.manifest.Actions = append(s.manifest.Actions, d)
		s.actions = append(s.actions, d.Name)
		s.lends = s.lends || a.lends()
	}
	return s, s.manifest.Validate()
}

// Describe implements rpc.Control.
func (s *process) Describe(context.Context) (*schema.Manifest, error) { return &s.manifest, nil }

// Verify implements rpc.Control.
func (s *process) Verify(ctx context.Context, in rpc.Instance, progress func(rpc.Progress)) ([]schema.Diagnostic, error) {
	var mu sync.Mutex // an author may look at several things at once
	over := false
	err := s.build.verify(ctx, in.Config, func(message string, percent int) {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			progress(rpc.Progress{Message: message, Percent: uint32(min(max(percent, 0), 100))})
		}
	})
	mu.Lock()
	over = true
	mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return failure.Diagnostics(err), nil
}

// Prepare implements rpc.Control.
func (s *process) Prepare(ctx context.Context, in rpc.Instance) ([]schema.Diagnostic, error) {
	leases, err := s.leases.Take(ctx, in.Leases)
	if err != nil {
		return nil, err
	}
	i := &instance{process: s, handle: in.Handle}
	env := &Env{Address: in.Address, Node: in.Node, Dir: in.Dir, StateDir: in.StateDir,
		Log: s.log.With("instance", in.Address), Stdout: s.stdout, instance: i}
	author, opened, err := s.build.make(ctx, in.Config, leases, env)
	if err != nil {
		return failure.Diagnostics(err), nil
	}
	i.opened = opened
	if err := i.bind(author, s.actions); err != nil {
		i.end(ctx)
		return failure.Diagnostics(err), nil
	}
	if !s.add(i, in.Address) {
		i.end(ctx)
		return nil, Errorf(AlreadyExists, "there is an instance %d already", in.Handle)
	}
	return nil, nil
}

// add reports false when there is an instance of that handle.
func (s *process) add(i *instance, address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.instances[i.handle] != nil {
		return false
	}
	s.instances[i.handle] = i
	s.addresses[i] = address
	return true
}

// Commit implements rpc.Control.
func (s *process) Commit(_ context.Context, handle uint32) error {
	i, err := s.find(handle)
	if err != nil {
		return err
	}
	i.commit()
	return nil
}

// Abort implements rpc.Control.
func (s *process) Abort(ctx context.Context, handle uint32) error {
	i, err := s.find(handle)
	if err != nil {
		return err
	}
	i.end(ctx)
	s.forget(handle)
	return nil
}

// Pause implements rpc.Control.
func (s *process) Pause(_ context.Context, handle uint32, attributes []string) error {
	i, err := s.find(handle)
	if err != nil {
		return err
	}
	i.opened.Pause(attributes)
	return nil
}

// Drain implements rpc.Control.
func (s *process) Drain(ctx context.Context, handle uint32, timeout time.Duration) (int, error) {
	i, err := s.find(handle)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	unfinished := i.drain(ctx)
	s.forget(handle)
	return unfinished, nil
}

func (s *process) find(handle uint32) (*instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.instances[handle]; i != nil {
		return i, nil
	}
	return nil, Errorf(NotFound, "there is no instance %d", handle)
}

func (s *process) all() []*instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.instances))
}

func (s *process) forget(handle uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.addresses, s.instances[handle])
	delete(s.instances, handle)
}

func (s *process) addressOf(i *instance) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addresses[i]
}

// events of the lane.
func (s *process) handler() wire.Handler {
	var answers []promise.Answer // of this frame
	full := func() error {
		if len(answers) == promise.MaxAnswers {
			s.promises.Take(answers)
			clear(answers)
			answers = answers[:0]
		}
		return nil
	}
	return wire.Handler{
		Loop: s.crew.Run,
		Accept: func(number uint64) error {
			answers = append(answers, promise.Answer{Number: number, Accept: true})
			return full()
		},
		Settle: func(w *wire.Settle) error {
			if w.Attempt > 0 { // one of ours, which came too late
				s.log.Debug("a delivery was settled in vain", "delivery", w.Ref, "attempt", w.Attempt, "error", w.Err)
				return nil
			}
			a := promise.Answer{Number: w.Ref, Err: w.Err}
			if len(w.Value) > 0 {
				a.Value = append(a.Value, w.Value...)
			}
			answers = append(answers, a)
			return full()
		},
		Batch: func() error {
			s.promises.Take(answers)
			clear(answers)
			answers = answers[:0]
			s.lane.Flush()
			return nil
		},
		Deliver: func(d *wire.Deliver) error {
			i, err := s.find(d.Instance)
			if err != nil {
				return s.lane.Settle(&wire.Settle{Ref: d.Delivery, Attempt: d.Attempt,
					Err: &Error{Code: Unavailable, Reason: wire.ReasonDraining, Message: "the instance has left", Retryable: true}})
			}
			i.deliver(d)
			s.crew.Feed(i.pool)
			return nil
		},
		Cancel: func(delivery uint64, attempt uint32, why wire.Cause) error {
			for _, i := range s.all() {
				i.pool.Cancel(delivery, attempt, canceled(why))
			}
			return nil
		},
	}
}

// What is emitted while other promises are pending is gathered, until somebody
// waits for one or host says something: most who emit much do so soon. Where
// nobody does, late sends it after a millisecond or two, and what is emitted next
// goes out at once.

// eagerness is how many emits go out at once after one that nobody waited for.
const eagerness = 4096

// gathered sends an emit, or gathers it.
func (s *process) gathered(alone bool) {
	switch {
	case alone: // nobody else emits just now, whose event could go along
		s.lane.Flush()
	case s.eager.Load() > 0:
		s.eager.Add(-1)
		s.lane.Wake()
	default:
		s.lane.Ripe()
		s.crew.Watch()
	}
}

// late sends what was gathered and waits for long. It reports whether something
// is gathered.
func (s *process) late() bool {
	waits, still := s.lane.Waits()
	if still {
		s.eager.Store(eagerness)
		s.lane.Flush()
	}
	return waits
}

// await comes before somebody waits for host, and awaited after. It sends what
// was gathered, or has the writer gather more where many wait. A handler must not
// wait where host is heard.
func (s *process) await(ctx context.Context) {
	yield(ctx)
	if s.waiting.Add(1) == 1 {
		s.lane.Flush()
	} else {
		s.lane.Nudge()
	}
}

// full comes before an Emit waits for room.
func (s *process) full(ctx context.Context) {
	yield(ctx)
	s.lane.Flush()
}

func yield(ctx context.Context) {
	if c, ok := work.Of(ctx); ok {
		c.Yield()
	}
}

func (s *process) awaited() { s.waiting.Add(-1) }

// close ends all instances, within a bound: host is gone.
func (s *process) close(bound time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	s.promises.Close(Errorf(Unavailable, "the connection to host ended"))
	var wait sync.WaitGroup
	for _, i := range s.all() {
		wait.Go(func() { i.drain(ctx) }) // what was accepted has its answer first
	}
	done := make(chan struct{})
	go func() { wait.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

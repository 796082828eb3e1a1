package apply_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/generation"
	"github.com/pluginhost/host/host/instance"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/resource"
	"github.com/pluginhost/host/host/resource/address"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// machine stands for processes, sockets and routes. It checks what it is asked
// for, and fails where a test says so.
type machine struct {
	t     testing.TB
	state string // directory

	mu        sync.Mutex
	disk      []byte // the configuration, as JSON
	instances map[string]*simulated
	leases    map[string]map[string]int // key → owner → how often
	routes    []string
	events    []string
	retained  map[string]bool
	fault     func(what string) // may block or panic; nil: nothing happens
	fail      map[string]error  // by "acquire KEY", "verify ADDRESS", "prepare ADDRESS"
	wrong     []string
	loads     func() apply.Loaded // in place of disk
}

func newMachine(t testing.TB) *machine {
	return &machine{t: t, state: t.TempDir(), instances: map[string]*simulated{}, leases: map[string]map[string]int{}, fail: map[string]error{}}
}

// applier opens the store and returns an applier on the machine.
func (m *machine) applier() (*apply.Applier, *generation.Store) {
	m.t.Helper()
	store, err := generation.Open(m.state)
	if err != nil {
		m.t.Fatal(err)
	}
	log, err := generation.OpenLog(m.state, store)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = errors.Join(log.Close(), store.Close()) })
	return apply.New(apply.Options{
		Load: func(_ context.Context, of *generation.Record) (apply.Loaded, config.Diagnostics) {
			m.at("reading")
			if m.loads != nil {
				return m.loads(), nil
			}
			b := m.onDisk()
			if of != nil {
				b, err = os.ReadFile(filepath.Join(store.ConfigDir(of.Generation), "c.json"))
				if err != nil {
					return apply.Loaded{}, config.Diagnostics{{Severity: schema.Error, Summary: err.Error()}}
				}
			}
			return apply.Loaded{Config: decode(b), Source: source(b)}, nil
		},
		Disk:      func() string { return source(m.onDisk()).Fingerprint() },
		Instances: m, Leases: m, Router: m, Store: store, Log: log,
		Retain: func(d map[string]bool) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.retained = d
		},
		Connections: func(listeners []string) map[string]int {
			n := map[string]int{}
			for _, l := range listeners {
				n[l] = 2
			}
			return n
		},
		Arrow: m.at,
	}), store
}

func (m *machine) at(what string) {
	m.mu.Lock()
	f := m.fault
	m.mu.Unlock()
	if f != nil {
		f(what)
	}
}

func (m *machine) failing(what string) error {
	m.at(what)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fail[what]
}

func (m *machine) bad(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// plain is a configuration in a form that can be written to a file.
type plain struct {
	Instances map[string]inst   `json:"instances"` // by address
	Routes    map[string]string `json:"routes"`    // name → text
}

type inst struct {
	Value  string   `json:"value"`
	Digest string   `json:"digest"`
	Listen string   `json:"listen,omitempty"`
	Max    int      `json:"max,omitempty"` // restarts
	Refs   []string `json:"refs,omitempty"`
}

func encode(p plain) []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return b
}

func source(b []byte) generation.Source {
	return generation.Source{Files: []generation.File{{Name: "config/c.json", Data: b}}, Vars: map[string]string{"v": "1"}}
}

func decode(b []byte) *config.Config {
	var p plain
	if err := json.Unmarshal(b, &p); err != nil {
		panic(err)
	}
	second := time.Second
	c := &config.Config{Host: config.Host{DrainTimeout: 30 * second, Start: 15 * second, Load: 30 * second, Reserve: 10 * second,
		Verify: 30 * second, Prepare: 30 * second, Commit: 30 * second}}
	for _, a := range slices.Sorted(maps.Keys(p.Instances)) {
		x := p.Instances[a]
		in := config.Instance{Address: a, Plugin: "p", Digest: x.Digest, Manifest: &schema.Manifest{Version: x.Digest},
			Config: encodeAny(map[string]string{"value": x.Value, "listen": x.Listen}), DependsOn: x.Refs,
			Process: config.Process{Restart: config.Restart{Max: x.Max}}}
		in.Shown = in.Config
		if x.Listen != "" {
			l, err := address.Parse(x.Listen)
			if err != nil {
				panic(err)
			}
			in.Resources = []config.Resource{{Attribute: "listen", Kind: schema.Listener, Value: x.Listen, Listen: l}}
		}
		c.Instances = append(c.Instances, in)
	}
	for _, n := range slices.Sorted(maps.Keys(p.Routes)) {
		c.Routes = append(c.Routes, config.Route{Name: n, Text: p.Routes[n]})
	}
	return c
}

func encodeAny(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (m *machine) onDisk() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.disk
}

func (m *machine) write(p plain) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk = encode(p)
}

// serving is what the machine does now, as a configuration.
func (m *machine) serving() plain {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := plain{Instances: map[string]inst{}, Routes: map[string]string{}}
	for owner, i := range m.instances {
		if i.state != instance.Ready {
			m.bad("%s is %s", owner, i.state)
			continue
		}
		var c map[string]string
		_ = json.Unmarshal(i.c.Config, &c)
		if _, twice := p.Instances[i.Address()]; twice {
			m.bad("two instances serve %s", i.Address())
		}
		p.Instances[i.Address()] = inst{Value: c["value"], Listen: c["listen"], Digest: i.c.Digest, Max: i.max}
	}
	for _, r := range m.routes {
		name, text, _ := strings.Cut(r, " ")
		p.Routes[name] = text
	}
	return p
}

// check compares what serves with what should, and looks for what leaked.
func (m *machine) check(when string, want plain) {
	m.t.Helper()
	got := m.serving()
	// What an instance refers to says when it starts, not what it is.
	want = plain{Instances: maps.Clone(want.Instances), Routes: want.Routes}
	for a, i := range want.Instances {
		i.Refs = nil
		want.Instances[a] = i
	}
	if g, w := string(encode(got)), string(encode(want)); g != w {
		m.t.Fatalf("%s: serving\n%s, want\n%s", when, g, w)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	held := map[string]bool{}
	for key, owners := range m.leases {
		for o := range owners {
			if m.instances[o] == nil {
				m.bad("%s is held for %s, which is not there", key, o)
			}
			held[o] = true
		}
	}
	digests := map[string]bool{}
	for o, i := range m.instances {
		digests[i.c.Digest] = true
		if len(i.c.Resources) > 0 && !held[o] {
			m.bad("%s has lost its listener", o)
		}
	}
	if m.retained != nil && !maps.Equal(digests, m.retained) {
		m.bad("executables %v are retained, %v are in use", m.retained, digests)
	}
	if len(m.wrong) > 0 {
		m.t.Fatalf("%s:\n%s", when, strings.Join(m.wrong, "\n"))
	}
}

// simulated is an instance.
type simulated struct {
	m     *machine
	c     config.Instance
	owner string
	state instance.State
	max   int
}

func (m *machine) New(c config.Instance, g uint64, _ time.Duration) apply.Instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := &simulated{m: m, c: c, owner: fmt.Sprintf("%s@%d", c.Address, g), state: instance.Preparing, max: c.Process.Restart.Max}
	if m.instances[i.owner] != nil {
		m.bad("%s is made twice", i.owner)
	}
	m.instances[i.owner] = i
	return i
}

func (i *simulated) Address() string { return i.c.Address }
func (i *simulated) Digest() string  { return i.c.Digest }
func (i *simulated) Owner() string   { return i.owner }

func (i *simulated) State() instance.State {
	i.m.mu.Lock()
	defer i.m.mu.Unlock()
	return i.state
}

func (i *simulated) Update(r config.Restart) {
	i.m.mu.Lock()
	defer i.m.mu.Unlock()
	i.max = r.Max
}

func (i *simulated) Verify(ctx context.Context, progress func(rpc.Progress)) ([]schema.Diagnostic, error) {
	progress(rpc.Progress{Message: "looking", Percent: 10})
	if err := i.call(ctx, "verify"); err != nil {
		return nil, err
	}
	return nil, ctx.Err()
}

func (i *simulated) Prepare(ctx context.Context, leases []rpc.Lease, _ []string) ([]schema.Diagnostic, error) {
	if len(leases) != len(i.c.Resources) {
		i.m.mu.Lock()
		i.m.bad("%s is prepared with %d leases", i.owner, len(leases))
		i.m.mu.Unlock()
	}
	return nil, i.call(ctx, "prepare")
}

// call may block as long as ctx lets it: a fault "hang" closes nothing.
func (i *simulated) call(ctx context.Context, what string) error {
	err := i.m.failing(what + " " + i.c.Address)
	if errors.Is(err, errHangs) {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return err
}

// errHangs makes a call last as long as it may.
var errHangs = errors.New("hangs")

func (i *simulated) Commit(ctx context.Context) {
	_ = i.call(ctx, "commit")
	i.m.mu.Lock()
	defer i.m.mu.Unlock()
	if i.state != instance.Preparing {
		i.m.bad("%s is committed while %s", i.owner, i.state)
	}
	i.state = instance.Ready
}

func (i *simulated) Abort(context.Context) { i.end(instance.Preparing) }

func (i *simulated) Pause(context.Context, []string) {}

func (i *simulated) Drain(ctx context.Context, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_ = i.call(ctx, "drain")
	i.end(instance.Ready)
}

func (i *simulated) end(from instance.State) {
	i.m.mu.Lock()
	defer i.m.mu.Unlock()
	if i.state != from {
		i.m.bad("%s ends while %s", i.owner, i.state)
	}
	i.state = instance.Ended
	delete(i.m.instances, i.owner)
}

func (i *simulated) Status() observe.Instance {
	s := observe.Instance{Address: i.c.Address, InFlight: 3}
	for _, r := range i.c.Resources {
		s.Listeners = append(s.Listeners, r.Value)
	}
	return s
}

// Leases.

func (m *machine) Acquire(ctx context.Context, owner string, r resource.Want) (resource.Lease, error) {
	err := m.failing("acquire " + r.Value)
	if errors.Is(err, errHangs) {
		<-ctx.Done()
		return resource.Lease{}, context.Cause(ctx)
	}
	if err != nil {
		return resource.Lease{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leases[r.Value] == nil {
		m.leases[r.Value] = map[string]int{}
	}
	m.leases[r.Value][owner]++
	return resource.Lease{ID: "lease-" + r.Value, Key: r.Value, Address: r.Value}, nil
}

func (m *machine) Release(owner string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, owners := range m.leases {
		if delete(owners, owner); len(owners) == 0 {
			delete(m.leases, key)
		}
	}
}

func (m *machine) Set(context.Context, string, resource.Want) error { return nil }
func (m *machine) Passed(string) []string                           { return nil }
func (m *machine) Retire(context.Context, string, time.Duration)    {}

// Router.

func (m *machine) Swap(routes []config.Route) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.routes = nil
	for _, r := range routes {
		m.routes = append(m.routes, r.Name+" "+r.Text)
	}
}

func (m *machine) EmitHost(name string, _ any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, name)
}

func (m *machine) Forget(string, *wire.Error) {}
func (m *machine) Queued(string) int          { return 0 }

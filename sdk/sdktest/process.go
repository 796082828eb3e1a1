// Package sdktest runs a plugin in a go test, without host and without a
// process of its own. Nothing of the SDK is replaced: the plugin is served over
// the real control plane and a real lane, whose other ends the test holds.
//
//	func TestShout(t *testing.T) {
//		in := sdktest.Start(t, plugin(), sdktest.Config{"prefix": "> "})
//		value, err := in.Call("say", Line{Text: "hello"})
//		…
//	}
//
// When the test ends, its instances are drained and the plugin is closed. The
// test fails when a delivery was never settled, when an instance failed, and
// when goroutines that the plugin started are left.
//
// The connections are in memory, so that a plugin can be tested inside a bubble
// of testing/synctest, unless its manifest has listeners or files.
package sdktest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// patience is how long a wait may take before the test fails.
const patience = time.Minute

// drainTimeout is what an instance has at the end of a test.
const drainTimeout = 30 * time.Second

// Process is a plugin being served, without instances at first. Its methods may
// be called from any goroutine; those that fail the test at once, with Fatal,
// are for the test's own.
type Process struct {
	t        testing.TB
	label    string // of the goroutines that the plugin started
	control  rpc.Control
	lane     *wire.Lane
	conn     net.Conn // of lane
	manifest *schema.Manifest
	temp     string
	log      *testLog
	replies  sync.WaitGroup
	ended    chan struct{} // closed when the plugin is served no more
	err      error         // why, after ended

	mu          sync.Mutex
	descriptors *net.UnixConn // host's end; nil where no configuration opens anything
	theirs      *net.UnixConn // the plugin's end
	instances   map[uint32]*Instance
	handles     uint32
	deliveries  map[uint64]*Delivery // not settled
	tokens      map[sdk.Token]*Delivery
	events      map[uint64]*Emitted // not settled, by promise
	numbers     uint64
	changed     chan struct{} // closed and replaced when something came
	stdout      strings.Builder
	killed      bool // deliveries may be left
	asked       bool // Wait was called: an error is the test's to judge
}

var labels atomic.Uint64

// New serves a plugin. A manifest that host would refuse fails the test.
func New[C any](t testing.TB, p sdk.Plugin[C]) *Process {
	t.Helper()
	manifest, err := sdk.ManifestOf(p)
	if err != nil {
		t.Fatalf("sdktest: host would refuse the plugin: %v", err)
	}
	s := &Process{t: t, manifest: manifest, label: strconv.FormatUint(labels.Add(1), 10), temp: t.TempDir(),
		instances: map[uint32]*Instance{}, deliveries: map[uint64]*Delivery{}, tokens: map[sdk.Token]*Delivery{}, events: map[uint64]*Emitted{},
		ended: make(chan struct{}), changed: make(chan struct{}), log: newLog(t)}
	ours, theirs := net.Pipe()
	s.conn, s.lane = ours, wire.NewLane(ours)
	if opens(manifest.Config) {
		if err := s.socketpair(); err != nil {
			t.Fatalf("sdktest: %v", err)
		}
	}
	listener := newPipes()
	control, end, err := rpc.Dial(listener.dial)
	if err != nil {
		t.Fatalf("sdktest: %v", err)
	}
	s.control = control
	carried := make(chan struct{})
	go func() {
		defer close(carried)
		_ = s.lane.Run(context.Background(), s.handler()) // it ends with the plugin
	}()
	go func() {
		defer close(s.ended)
		pprof.Do(context.Background(), pprof.Labels(labelKey, s.label), func(ctx context.Context) {
			s.err = sdk.ServeOver(ctx, p, sdk.Conns{Control: listener, Lane: theirs, Descriptors: s.theirs, Log: s.log.logger(), Stdout: stdout{s}})
		})
		s.lost()
	}()
	t.Cleanup(func() {
		s.close()
		<-carried
		s.replies.Wait()
		_ = end()
		_ = listener.Close()
		if s.descriptors != nil {
			_ = s.descriptors.Close()
		}
		s.log.end()
	})
	return s
}

// Start serves a plugin with one instance, committed.
func Start[C any](t testing.TB, p sdk.Plugin[C], config any, opts ...Option) *Instance {
	t.Helper()
	return New(t, p).Start(config, opts...)
}

// opens reports whether a configuration has listeners or files.
func opens(fields []schema.Field) bool {
	return slices.ContainsFunc(fields, func(f schema.Field) bool { return opensType(f.Type) })
}

func opensType(t schema.Type) bool {
	return t.Kind == schema.Listener || t.Kind == schema.File || opens(t.Fields) || t.Elem != nil && opensType(*t.Elem)
}

// socketpair makes the connection for descriptors.
func (s *Process) socketpair() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "descriptors")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			return err
		}
		ends[i] = c.(*net.UnixConn)
	}
	s.descriptors, s.theirs = ends[0], ends[1]
	return nil
}

// Manifest is what the plugin says of itself.
func (s *Process) Manifest() schema.Manifest { return *s.manifest }

// Stdout is what the plugin wrote to Env.Stdout so far.
func (s *Process) Stdout() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stdout.String()
}

// Verify asks the plugin to check a configuration; there is no diagnostic when
// it has nothing against it.
func (s *Process) Verify(config any, opts ...Option) (diagnostics []schema.Diagnostic, progress []string) {
	s.t.Helper()
	in, _ := s.instance(config, opts, false) // there are no leases yet
	ctx, cancel := s.context()
	defer cancel()
	diagnostics, err := s.control.Verify(ctx, in, func(p rpc.Progress) { progress = append(progress, p.Message) })
	if err != nil {
		s.t.Fatalf("sdktest: verify: %v", err)
	}
	return diagnostics, progress
}

// Prepare makes an instance, gated. With diagnostics it is refused, and nil.
func (s *Process) Prepare(config any, opts ...Option) (*Instance, []schema.Diagnostic) {
	s.t.Helper()
	in, o := s.instance(config, opts, true)
	i := &Instance{process: s, address: in.Address, config: o, queues: map[string][]*Emitted{}, replies: map[string]func(*Emitted) (any, error){}}
	s.mu.Lock()
	s.handles++
	i.handle = s.handles
	in.Handle = i.handle
	s.instances[i.handle] = i
	s.mu.Unlock()
	ctx, cancel := s.context()
	defer cancel()
	diagnostics, err := s.control.Prepare(ctx, in)
	if err != nil {
		s.t.Fatalf("sdktest: prepare: %v", err)
	}
	if slices.ContainsFunc(diagnostics, func(d schema.Diagnostic) bool { return d.Severity == schema.Error }) {
		s.forget(i)
		return nil, diagnostics
	}
	return i, diagnostics
}

// Start makes an instance and commits it. A refused one fails the test.
func (s *Process) Start(config any, opts ...Option) *Instance {
	s.t.Helper()
	i, diagnostics := s.Prepare(config, opts...)
	if i == nil {
		for _, d := range diagnostics {
			s.t.Errorf("sdktest: refused: %s %s", d.Attribute, d.Summary)
		}
		s.t.FailNow()
	}
	i.Commit()
	return i
}

// Wait waits until the plugin has ended by itself, because Run of an instance
// returned an error, and returns that error. It does not fail the test then.
func (s *Process) Wait() error {
	s.t.Helper()
	s.mu.Lock()
	s.asked = true
	s.mu.Unlock()
	select {
	case <-s.ended:
		return s.err
	case <-time.After(patience):
		s.t.Fatal("sdktest: the plugin did not end")
		return nil
	}
}

// Kill ends the plugin as if host had died: no drain, the lane is closed. What
// is in flight is rejected as host rejects what a dead process had.
func (s *Process) Kill() {
	s.t.Helper()
	s.mu.Lock()
	s.killed = true
	s.mu.Unlock()
	_ = s.conn.Close()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatal("sdktest: the plugin did not end although its lane was closed")
	}
}

// Alive reports whether the plugin is being served.
func (s *Process) Alive() bool { return !s.isEnded() }

func (s *Process) isEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// context bounds a call, also by the life of the plugin.
func (s *Process) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	go func() {
		select {
		case <-s.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// notify tells those who wait that something came; s.mu is held.
func (s *Process) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait waits until done, which is called with s.mu held, reports true.
func (s *Process) wait(done func() bool) bool {
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		ok, changed := done(), s.changed
		s.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-s.ended:
			s.mu.Lock()
			defer s.mu.Unlock()
			return done()
		case <-timeout:
			return false
		}
	}
}

func (s *Process) forget(i *Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.instances, i.handle)
}

// lost rejects what a plugin that is served no more has left.
func (s *Process) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.deliveries {
		if d.token != "" {
			continue // it outlives the plugin
		}
		s.end(d, nil, &sdk.Error{Code: sdk.Unavailable, Reason: wire.ReasonCrashed, Message: "the plugin ended", Retryable: true})
		if !s.killed {
			s.t.Errorf("sdktest: a delivery to %s.%s was lost: the plugin ended without settling it", d.instance.address, d.action)
		}
	}
	s.notify()
}

// close ends the test's part.
func (s *Process) close() {
	s.t.Helper()
	if !s.isEnded() {
		s.mu.Lock()
		var all []*Instance
		for _, i := range s.instances {
			all = append(all, i)
		}
		s.mu.Unlock()
		for _, i := range all {
			if n := i.Drain(drainTimeout); n > 0 {
				s.t.Errorf("sdktest: %s gave up %d deliveries: they were not handled within %v", i.address, n, drainTimeout)
			}
		}
	}
	_ = s.lane.Close()
	select {
	case <-s.ended:
		s.mu.Lock()
		if s.err != nil && !s.asked {
			s.t.Errorf("sdktest: the plugin ended: %v", s.err)
		}
		s.mu.Unlock()
	case <-time.After(patience):
		s.t.Error("sdktest: the plugin did not end although its lane was closed")
	}
	if left := goroutines(s.label); left != "" {
		s.t.Errorf("sdktest: goroutines of the plugin are left after its end:\n%s", left)
	}
}

// handler is host's side of the lane.
func (s *Process) handler() wire.Handler {
	return wire.Handler{
		Emit:     s.emitted,
		Settle:   s.settled,
		Detach:   s.detach,
		Withdraw: s.withdraw,
		Credit: func(instance, n uint32) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if i := s.instances[instance]; i != nil {
				i.credit += int(n)
				s.notify()
			}
			return nil
		},
	}
}

// stdout collects what the plugin writes to standard output.
type stdout struct{ s *Process }

// Write implements io.Writer.
func (w stdout) Write(b []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.stdout.Write(b)
}

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	over  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), over: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.over:
		return nil, errors.Join(io.ErrClosedPipe, ours.Close(), theirs.Close())
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), ours.Close(), theirs.Close())
	}
}

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.over) })
	return nil
}

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "sdktest", Net: "unix"} }

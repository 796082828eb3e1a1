package route

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// rig is a router with fake instances around it. What the router hands to an
// instance waits there until the test takes it, as in a lane's buffer.
type rig struct {
	t   testing.TB
	r   *Router
	rec *observe.Recorder
}

// bubble runs f in a synctest bubble with a running router, and balances the
// books at the end.
func bubble(t *testing.T, f func(t *testing.T, g *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rec := observe.NewRecorder(4096)
		g := &rig{t: t, r: New(Options{Node: "n1", Recorder: rec}), rec: rec}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.r.Run(ctx) }()
		f(t, g)
		g.check()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		g.check()
		if c, _ := g.r.Counts(); c.Pending != 0 {
			t.Errorf("%d events pending after the end", c.Pending)
		}
	})
}

func (g *rig) check() {
	g.t.Helper()
	if err := g.r.check(); err != nil {
		g.t.Error(err)
	}
}

// routeTo returns a route from a.said to an action, with the defaults of
// config, changed by f.
func routeTo(name, instance string, f ...func(*config.Delivery)) config.Route {
	r := config.Route{Name: name,
		From: []config.Endpoint{{Instance: "a", Name: "said"}},
		To:   config.Endpoint{Instance: instance, Name: "do"},
		Delivery: config.Delivery{Timeout: 30 * time.Second, Attempts: 3, Backoff: 100 * time.Millisecond,
			MaxBackoff: 10 * time.Second, Await: true, Queue: 1024, Overflow: "block"}}
	for _, f := range f {
		f(&r.Delivery)
	}
	policy, _ := json.Marshal(r.Delivery)
	r.Text = name + instance + string(policy)
	return r
}

// instance is a fake one.
type instance struct {
	*Inbox
	mu        sync.Mutex
	flushed   atomic.Int32
	got       []wire.Deliver
	cancelled []string
	err       error // of the next Deliver
}

func (g *rig) attach(address string, credit uint32) *instance {
	i := &instance{}
	i.Inbox = g.r.Attach(Attachment{Address: address, Version: "1.2.3", Handle: 7, Actions: []string{"other", "do"}, Outlet: i})
	i.Credit(credit)
	return i
}

func (i *instance) Deliver(d *wire.Deliver) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return i.err
	}
	c := *d
	c.Event.Data = slices.Clone(d.Event.Data)
	c.Input = slices.Clone(d.Input)
	i.got = append(i.got, c)
	return nil
}

func (i *instance) Cancel(delivery uint64, attempt uint32, _ wire.Cause) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cancelled = append(i.cancelled, fmt.Sprintf("%d#%d", delivery, attempt))
	return nil
}

// Flush implements Outlet.
func (i *instance) Flush() { i.flushed.Add(1) }

// take returns what was delivered since the last take.
func (i *instance) take() []wire.Deliver {
	i.mu.Lock()
	defer i.mu.Unlock()
	got := i.got
	i.got = nil
	return got
}

// one returns the only delivery since the last take.
func (i *instance) one(t testing.TB) wire.Deliver {
	t.Helper()
	got := i.take()
	if len(got) != 1 {
		t.Fatalf("%d deliveries, want 1: %v", len(got), texts(got))
	}
	return got[0]
}

// texts shows the data of deliveries.
func texts(ds []wire.Deliver) []string {
	s := []string{}
	for _, d := range ds {
		s = append(s, string(d.Event.Data))
	}
	return s
}

func (i *instance) resolve(d wire.Deliver, value string) error {
	return i.Settle(&wire.Settle{Ref: d.Delivery, Attempt: d.Attempt, Value: []byte(value)})
}

func (i *instance) fail(d wire.Deliver, code wire.Code, retryable bool) error {
	return i.Settle(&wire.Settle{Ref: d.Delivery, Attempt: d.Attempt,
		Err: &wire.Error{Code: code, Message: "it failed", Retryable: retryable}})
}

var crash = &wire.Error{Code: wire.Unavailable, Reason: wire.ReasonCrashed, Retryable: true,
	Message: "ended by signal killed", Details: []byte(`{"stderr":["oh no"]}`)}

// emitter is a fake source.
type emitter struct {
	Source
	g        *rig
	mu       sync.Mutex
	index    uint32 // of the next event
	flushed  atomic.Int32
	next     uint64
	accepted map[uint64]int
	settled  map[uint64][]wire.Settle
}

func (g *rig) source(address string, events ...string) *emitter {
	e := &emitter{g: g, accepted: map[uint64]int{}, settled: map[uint64][]wire.Settle{}}
	e.Address, e.Events, e.Replier = address, events, replier{e}
	return e
}

type replier struct{ *emitter }

func (r replier) Accept(p uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.settled[p]) > 0 {
		r.g.t.Errorf("promise %d accepted after it was settled", p)
	}
	r.accepted[p]++
	return nil
}

func (r replier) Settle(s *wire.Settle) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := *s
	c.Value = slices.Clone(s.Value)
	r.settled[s.Ref] = append(r.settled[s.Ref], c)
	return nil
}

func (r replier) Flush() { r.flushed.Add(1) }

// emit emits an event and returns the number of its promise.
func (e *emitter) emit(data string, f ...func(*wire.Event)) uint64 {
	e.next++
	m := &wire.Emit{Promise: e.next, Type: e.index, Event: wire.Event{Data: []byte(data)}}
	for _, f := range f {
		f(&m.Event)
	}
	e.g.r.Emit(&e.Source, m)
	return e.next
}

func subjectOf(s string) func(*wire.Event) { return func(e *wire.Event) { e.Subject = s } }

func within(d time.Duration) func(*wire.Event) {
	return func(e *wire.Event) { e.Deadline = time.Now().Add(d).UnixNano() }
}

// outcome shows what is known of a promise: "pending", "accepted", "= value"
// or the error with its code.
func (e *emitter) outcome(p uint64) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch s := e.settled[p]; {
	case len(s) > 1:
		return fmt.Sprintf("settled %d times", len(s))
	case e.accepted[p] > 1:
		return fmt.Sprintf("accepted %d times", e.accepted[p])
	case len(s) == 1 && s[0].Err != nil:
		return s[0].Err.Code.String() + " " + s[0].Err.Error()
	case len(s) == 1:
		return "= " + string(s[0].Value)
	case e.accepted[p] == 1:
		return "accepted"
	}
	return "pending"
}

func (e *emitter) error(p uint64) *wire.Error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.settled[p]; len(s) == 1 && s[0].Err != nil {
		return s[0].Err
	}
	e.g.t.Fatalf("promise %d is not rejected", p)
	return nil
}

func (e *emitter) want(p uint64, outcome string) {
	e.g.t.Helper()
	if got := e.outcome(p); got != outcome {
		e.g.t.Errorf("promise %d: %q, want %q", p, got, outcome)
	}
}

// ledger returns the counts of a route.
func (g *rig) ledger(name string) observe.Route {
	g.t.Helper()
	_, routes := g.r.Counts()
	for _, r := range routes {
		if r.Name == name {
			return r
		}
	}
	g.t.Fatalf("no route %s", name)
	return observe.Route{}
}

// wait lets time pass, and Run do what is due.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var errEnough = errors.New("enough")

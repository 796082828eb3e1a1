package sdktest

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/wire"
)

// Emitted is an event that the plugin emitted. Its promise is pending until
// Resolve or Reject.
type Emitted struct {
	Name     string // of the manifest
	Event    sdk.EventInfo
	instance *Instance
	promise  uint64
	settle   sync.Once
	gone     chan struct{} // closed when it is withdrawn
}

// Withdrawn is closed when the plugin does not want the outcome any more. The
// promise is rejected then, as host rejects it.
func (e *Emitted) Withdrawn() <-chan struct{} { return e.gone }

// withdraw rejects a promise that nobody waits for.
func (s *Process) withdraw(promise uint64, _ uint32) error {
	s.mu.Lock()
	e := s.events[promise]
	s.mu.Unlock()
	if e != nil {
		close(e.gone)
		e.Reject(&sdk.Error{Code: sdk.Canceled, Reason: wire.ReasonWithdrawn, Message: "the event was withdrawn"})
	}
	return nil
}

// Accept says that host has the event; for HoldAccepts.
func (e *Emitted) Accept() { _ = e.instance.process.lane.Accept(e.promise) }

// Resolve resolves the promise; value is as the input of Call.
func (e *Emitted) Resolve(value any) {
	t := e.instance.process.t
	t.Helper()
	b, err := encode(value)
	if err != nil {
		t.Errorf("sdktest: value for %s: %v", e.Name, err)
	}
	e.send(&wire.Settle{Ref: e.promise, Value: b})
}

// Reject rejects the promise.
func (e *Emitted) Reject(err *sdk.Error) { e.send(&wire.Settle{Ref: e.promise, Err: err}) }

func (e *Emitted) send(w *wire.Settle) {
	e.settle.Do(func() {
		s := e.instance.process
		s.mu.Lock()
		delete(s.events, e.promise)
		s.mu.Unlock()
		_ = s.lane.Settle(w) // a plugin that has ended wants none
	})
}

// Into decodes the event's data.
func (e *Emitted) Into(dst any) {
	t := e.instance.process.t
	t.Helper()
	if err := json.Unmarshal(e.Event.Data, dst); err != nil {
		t.Errorf("sdktest: data of %s: %v", e.Name, err)
	}
}

// Unrouted is how host rejects an event that no route matches.
func Unrouted() *sdk.Error {
	return &sdk.Error{Code: sdk.NotFound, Reason: wire.ReasonUnrouted, Message: "no route matches the event"}
}

// Next waits for the next event of that name, in the order in which they were
// emitted.
func (i *Instance) Next(event string) *Emitted {
	s := i.process
	s.t.Helper()
	i.declared(event)
	var e *Emitted
	if !s.wait(func() bool {
		q := i.queues[event]
		if len(q) == 0 {
			return false
		}
		e, i.queues[event] = q[0], q[1:]
		return true
	}) {
		s.t.Fatalf("sdktest: %s did not emit %s within %v", i.address, event, patience)
	}
	return e
}

// Emitted takes the events of that name that have come and that nobody took. It
// does not wait.
func (i *Instance) Emitted(event string) []*Emitted {
	i.process.t.Helper()
	i.declared(event)
	i.process.mu.Lock()
	defer i.process.mu.Unlock()
	q := i.queues[event]
	delete(i.queues, event)
	return q
}

// Reply settles the promise of each event of that name with what f returns, as
// a route to an action would. f runs on a goroutine of its own for each event;
// an error that is no *sdk.Error rejects with the code Unknown. Next and Emitted
// give these events no more.
func (i *Instance) Reply(event string, f func(*Emitted) (any, error)) {
	i.process.t.Helper()
	i.declared(event)
	i.process.mu.Lock()
	defer i.process.mu.Unlock()
	i.replies[event] = f
	for _, e := range i.queues[event] {
		i.process.reply(e, f)
	}
	delete(i.queues, event)
}

func (i *Instance) declared(event string) {
	i.process.t.Helper()
	for _, e := range i.process.manifest.Events {
		if e.Name == event {
			return
		}
	}
	i.process.t.Fatalf("sdktest: the manifest has no event %q", event)
}

// emitted takes an event of the plugin.
func (s *Process) emitted(w *wire.Emit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.instances[w.Instance]
	if i == nil || int(w.Type) >= len(s.manifest.Events) {
		return s.lane.Settle(&wire.Settle{Ref: w.Promise, Err: sdk.Errorf(sdk.FailedPrecondition, "there is no such instance or event")})
	}
	e := &Emitted{Name: s.manifest.Events[w.Type].Name, Event: w.Event, instance: i, promise: w.Promise, gone: make(chan struct{})}
	s.events[w.Promise] = e
	e.Event.Data = bytes.Clone(w.Event.Data)
	e.Event.Type, e.Event.Source = i.address+"."+e.Name, "test/"+i.address // as host does
	if !i.config.hold {
		if err := s.lane.Accept(w.Promise); err != nil {
			return nil //nolint:nilerr // the plugin has ended
		}
	}
	if f := i.replies[e.Name]; f != nil {
		s.reply(e, f)
		return nil
	}
	i.queues[e.Name] = append(i.queues[e.Name], e)
	s.notify()
	return nil
}

// reply settles an event with what f returns; close waits for it.
func (s *Process) reply(e *Emitted, f func(*Emitted) (any, error)) {
	s.replies.Go(func() {
		value, err := f(e)
		if err == nil {
			e.Resolve(value)
			return
		}
		var x *sdk.Error
		if !errors.As(err, &x) {
			x = sdk.Errorf(sdk.Unknown, "%v", err)
		}
		e.Reject(x)
	})
}

package sdktest

import (
	"encoding/json"
	"time"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/wire"
)

// Option changes an instance before it is made.
type Option func(*options)

type options struct {
	address  string
	node     string
	dir      string
	stateDir string
	hold     bool
}

// Address sets the address of the instance; NAME.test unless set.
func Address(a string) Option { return func(o *options) { o.address = a } }

// Dir sets the configuration directory; an empty directory unless set.
func Dir(path string) Option { return func(o *options) { o.dir = path } }

// StateDir sets the instance's own directory, so that a second instance finds
// what a first one left there.
func StateDir(path string) Option { return func(o *options) { o.stateDir = path } }

// HoldAccepts leaves emitted events unaccepted until Accept, Resolve or Reject.
func HoldAccepts() Option { return func(o *options) { o.hold = true } }

// Instance is an instance of the plugin under test.
type Instance struct {
	process *Process
	address string
	handle  uint32
	config  options

	// Under process.mu:
	credit  int
	queues  map[string][]*Emitted // by event, those that nobody took
	replies map[string]func(*Emitted) (any, error)
}

// Process is the plugin that the instance runs in.
func (i *Instance) Process() *Process { return i.process }

// Commit opens the gate: Run begins, and deliveries and events pass.
func (i *Instance) Commit() {
	t := i.process.t
	t.Helper()
	ctx, cancel := i.process.context()
	defer cancel()
	if err := i.process.control.Commit(ctx, i.handle); err != nil {
		t.Fatalf("sdktest: commit: %v", err)
	}
}

// Abort forgets an instance that was not committed.
func (i *Instance) Abort() {
	t := i.process.t
	t.Helper()
	ctx, cancel := i.process.context()
	defer cancel()
	if err := i.process.control.Abort(ctx, i.handle); err != nil {
		t.Fatalf("sdktest: abort: %v", err)
	}
	i.process.forget(i)
}

// Drain drains the instance and ends it. It returns how many deliveries were
// given up.
func (i *Instance) Drain(timeout time.Duration) (unfinished int) {
	t := i.process.t
	t.Helper()
	ctx, cancel := i.process.context()
	defer cancel()
	n, err := i.process.control.Drain(ctx, i.handle, timeout)
	if err != nil {
		t.Errorf("sdktest: drain: %v", err)
	}
	i.process.forget(i)
	return n
}

// With changes the event of a delivery: its subject, deadline, trace and so on.
type With func(*sdk.EventInfo)

// Call delivers an event to an action and returns the outcome. The input is the
// event's data: nil for none, []byte and json.RawMessage as they are, anything
// else as JSON.
func (i *Instance) Call(action string, input any, with ...With) (sdk.Value, *sdk.Error) {
	i.process.t.Helper()
	return i.Deliver(action, input, with...).Wait()
}

// Deliver is Call without waiting for the outcome. It waits for credit.
func (i *Instance) Deliver(action string, input any, with ...With) *Delivery {
	s := i.process
	s.t.Helper()
	at := -1
	for n, a := range s.manifest.Actions {
		if a.Name == action {
			at = n
		}
	}
	if at < 0 {
		s.t.Fatalf("sdktest: the manifest has no action %q", action)
	}
	data, err := encode(input)
	if err != nil {
		s.t.Fatalf("sdktest: input of %s: %v", action, err)
	}
	id := wire.NewID()
	w := wire.Deliver{Attempt: 1, Instance: i.handle, Action: uint32(at), Event: wire.Event{
		ID: id, Correlation: id, Type: "test.sender.sent", Source: "test/test.sender", Time: time.Now().UnixNano(), Data: data}}
	for _, f := range with {
		f(&w.Event)
	}
	d := &Delivery{instance: i, action: action, attempt: w.Attempt, done: make(chan struct{})}
	if !s.wait(func() bool {
		if s.isEnded() || i.credit == 0 {
			return false
		}
		i.credit--
		s.numbers++
		d.number, w.Delivery = s.numbers, s.numbers
		s.deliveries[d.number] = d
		return true
	}) {
		s.t.Fatalf("sdktest: %s gives no credit: it is not committed, has ended or is busy", i.address)
	}
	if err := s.lane.Deliver(&w); err != nil && !s.isEnded() {
		s.t.Errorf("sdktest: deliver: %v", err)
	}
	return d
}

// Delivery is an event on its way to an action.
type Delivery struct {
	instance *Instance
	action   string
	number   uint64
	attempt  uint32
	done     chan struct{} // closed when value and err are set
	value    sdk.Value
	err      *sdk.Error
	lost     bool
}

// Done is closed when the delivery is settled.
func (d *Delivery) Done() <-chan struct{} { return d.done }

// Wait returns the outcome.
func (d *Delivery) Wait() (sdk.Value, *sdk.Error) {
	t := d.instance.process.t
	t.Helper()
	select {
	case <-d.done:
		return d.value, d.err
	case <-time.After(patience):
		t.Fatalf("sdktest: a delivery to %s.%s was not settled within %v", d.instance.address, d.action, patience)
		return nil, nil
	}
}

// Cancel tells the plugin that the outcome is not wanted any more. The plugin
// settles all the same.
func (d *Delivery) Cancel() { _ = d.instance.process.lane.Cancel(d.number, d.attempt, wire.Withdrawn) }

// settled takes the outcome of a delivery.
func (s *Process) settled(w *wire.Settle) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.deliveries[w.Ref]
	switch {
	case d == nil:
		s.t.Errorf("sdktest: delivery %d was settled twice, or does not exist", w.Ref)
		return nil
	case d.attempt != w.Attempt:
		s.t.Errorf("sdktest: delivery %d was settled for attempt %d", w.Ref, w.Attempt)
	}
	delete(s.deliveries, w.Ref)
	d.value, d.err = append(sdk.Value(nil), w.Value...), w.Err
	close(d.done)
	return nil
}

func encode(v any) ([]byte, error) {
	switch x := v.(type) {
	case nil:
		return nil, nil
	case []byte:
		return x, nil
	case json.RawMessage:
		return x, nil
	case sdk.Value:
		return x, nil
	}
	return json.Marshal(v)
}

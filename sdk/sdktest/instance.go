package sdktest

import (
	"encoding/json"
	"fmt"
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

// Pause stops reading from datagram sockets of the configuration, as host does
// before a successor reads them.
func (i *Instance) Pause(attributes ...string) {
	t := i.process.t
	t.Helper()
	ctx, cancel := i.process.context()
	defer cancel()
	if err := i.process.control.Pause(ctx, i.handle, attributes); err != nil {
		t.Errorf("sdktest: pause: %v", err)
	}
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
	token    sdk.Token     // once it is detached; under process.mu
	done     chan struct{} // closed when value and err are set
	value    sdk.Value
	err      *sdk.Error
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
func (d *Delivery) Cancel() {
	_ = d.instance.process.lane.Cancel(d.number, d.attempt, wire.Withdrawn) // a plugin that has ended wants none
}

// Token waits until the plugin has detached the delivery, and returns its token.
// Process.Settle settles it then, or Env.Settle of an instance.
func (d *Delivery) Token() sdk.Token {
	s := d.instance.process
	s.t.Helper()
	if !s.wait(func() bool { return d.token != "" }) {
		s.t.Fatalf("sdktest: a delivery to %s.%s was not detached within %v", d.instance.address, d.action, patience)
	}
	return d.token
}

// settled takes the outcome of a delivery.
func (s *Process) settled(w *wire.Settle) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Token != "" {
		return s.lane.Settle(&wire.Settle{Ref: w.Ref, Err: s.settle(sdk.Token(w.Token), w.Value, w.Err)})
	}
	d := s.deliveries[w.Ref]
	switch {
	case d == nil:
		s.t.Errorf("sdktest: delivery %d was settled twice, or does not exist", w.Ref)
		return nil
	case d.attempt != w.Attempt:
		s.t.Errorf("sdktest: delivery %d was settled for attempt %d", w.Ref, w.Attempt)
	case d.token != "":
		s.t.Errorf("sdktest: delivery %d was settled although it is detached", w.Ref)
	}
	s.end(d, w.Value, w.Err)
	return nil
}

// end gives a delivery its outcome; s.mu is held.
func (s *Process) end(d *Delivery, value []byte, err *sdk.Error) {
	delete(s.deliveries, d.number)
	d.value, d.err = append(sdk.Value(nil), value...), err
	close(d.done)
}

// detach gives the plugin a token for a delivery.
func (s *Process) detach(promise, delivery uint64, attempt uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.deliveries[delivery]
	if d == nil || d.attempt != attempt || d.token != "" {
		s.t.Errorf("sdktest: delivery %d was detached twice, or does not exist", delivery)
		return s.lane.Settle(&wire.Settle{Ref: promise, Err: sdk.Errorf(sdk.Aborted, "there is no such delivery")})
	}
	s.numbers++
	d.token = sdk.Token(fmt.Sprintf("token-%d", s.numbers))
	s.tokens[d.token] = d
	s.notify()
	return s.lane.Settle(&wire.Settle{Ref: promise, Value: []byte(d.token)})
}

// Settle settles a detached delivery, as anyone who holds its token may. The
// error says why that was not taken.
func (s *Process) Settle(t sdk.Token, value any, failed *sdk.Error) *sdk.Error {
	s.t.Helper()
	b, err := encode(value)
	if err != nil {
		s.t.Errorf("sdktest: value: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settle(t, b, failed)
}

func (s *Process) settle(t sdk.Token, value []byte, failed *sdk.Error) *sdk.Error {
	d := s.tokens[t]
	switch {
	case d == nil:
		return &sdk.Error{Code: sdk.NotFound, Reason: wire.ReasonUnknownToken, Message: "there is no such token"}
	case s.deliveries[d.number] == nil:
		return &sdk.Error{Code: sdk.FailedPrecondition, Reason: wire.ReasonAlreadySettled, Message: "the delivery is settled"}
	}
	s.end(d, value, failed)
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

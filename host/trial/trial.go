// Package trial runs the tests of a configuration: it puts the event of a test
// through the real router, with simulated instances that answer as the test
// says, and compares what came of it with what was expected. No daemon and no
// plugin process takes part, and there is no second implementation of matching
// or retrying to drift from the first.
//
// Each route leads to a simulated instance of its own, so that its deliveries
// can be told from those of another route to the same action. Backoffs are
// left out; everything else of a delivery's policy holds.
package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route"
	"github.com/pluginhost/host/sdk/wire"
)

// Result is how a test went.
type Result struct {
	Name     string        `json:"name"`
	Range    config.Range  `json:"range"`
	Passed   bool          `json:"passed"`
	Elapsed  time.Duration `json:"elapsed_ns"`
	Failures []Failure     `json:"failures"`
}

// Failure is one expectation that was not met.
type Failure struct {
	What  string       `json:"what"` // routes, value, error, the input of route price, …
	Want  string       `json:"want"` // JSON or a word
	Got   string       `json:"got"`
	Hint  string       `json:"hint,omitempty"` // which clause of a when was false
	Range config.Range `json:"range"`          // of what was expected
}

// patience bounds one test; nothing in it waits for anything but a route's
// timeout.
const patience = 10 * time.Second

// steps is how many steps of its event a test keeps.
const steps = 4096

// Run runs one test of a configuration. The error is ctx's, or says that the
// test did not end.
func Run(ctx context.Context, c *config.Config, t *config.Test) (Result, error) {
	start := time.Now()
	r := Result{Name: t.Name, Range: t.Range, Failures: []Failure{}}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	seen, err := play(ctx, c, t)
	if err != nil {
		return r, err
	}
	r.Failures = append(r.Failures, seen.compare(c, t)...)
	r.Passed = len(r.Failures) == 0
	r.Elapsed = time.Since(start)
	return r, nil
}

// play puts the event through a router.
func play(ctx context.Context, c *config.Config, t *config.Test) (*outcome, error) {
	recorder := observe.NewRecorder(steps)
	router := route.New(route.Options{Node: c.Host.Node, Recorder: recorder})
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = router.Run(running) // it returns nil
	}()
	defer func() {
		stop()
		<-ended
	}()

	stage := newStage(router, t)
	defer stage.close()
	routes := slices.Clone(c.Routes)
	for n := range routes {
		routes[n] = stage.lead(routes[n])
	}
	router.Swap(routes)

	source, index := emitter(c, t)
	answer := make(replier, 1)
	source.Replier = answer
	e := wire.Event{ID: wire.NewID(), Subject: t.Subject, Data: t.Data}
	router.Emit(source, &wire.Emit{Promise: 1, Type: uint32(index), Event: e})
	seen := &outcome{inputs: map[string]json.RawMessage{}, attempts: map[string]int{}, matched: map[string]bool{}}
	select {
	case s := <-answer:
		seen.value, seen.err = s.Value, s.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("test %q: the promise did not settle: %w", t.Name, context.Cause(ctx))
	}
	if err := router.Idle(ctx); err != nil { // routes that nobody waits for
		return nil, fmt.Errorf("test %q: a route did not end: %w", t.Name, err)
	}
	stage.tell(seen)
	seen.read(recorder, e.ID)
	return seen, nil
}

// emitter is the source of the test's event, and the event's index.
func emitter(c *config.Config, t *config.Test) (*route.Source, int) {
	names := config.HostEvents
	for _, i := range c.Instances {
		if i.Address != t.Instance {
			continue
		}
		names = nil
		for _, e := range i.Manifest.Events {
			names = append(names, e.Name)
		}
	}
	return &route.Source{Address: t.Instance, Events: names}, slices.Index(names, t.Event)
}

type replier chan *wire.Settle

func (r replier) Accept(uint64) error { return nil }

func (r replier) Flush() {}

func (r replier) Settle(s *wire.Settle) error {
	c := *s
	c.Value = slices.Clone(s.Value)
	r <- &c // there is room: a promise settles once
	return nil
}

// outcome is what came of the event.
type outcome struct {
	value    json.RawMessage
	err      *wire.Error
	inputs   map[string]json.RawMessage
	attempts map[string]int
	matched  map[string]bool
	passed   []string // why routes did not match
}

// read takes what the recorder has of the event.
func (o *outcome) read(recorder *observe.Recorder, id wire.ID) {
	now, cancel := context.WithCancel(context.Background())
	cancel() // recent entries only
	_ = recorder.Tail(now, steps, func(e *observe.Entry) bool { return e.Event == id }, func(e observe.Entry) error {
		switch {
		case e.Route == "":
		case e.Step == observe.NotMatched && e.Err != nil:
			o.passed = append(o.passed, fmt.Sprintf("route %s did not match: %s", e.Route, e.Err.Message))
		case e.Step == observe.NotMatched:
			o.passed = append(o.passed, fmt.Sprintf("route %s did not match: %s", e.Route, e.Detail))
		default:
			o.matched[e.Route] = true
		}
		return nil
	})
}

// compare lists what is not as expected.
func (o *outcome) compare(c *config.Config, t *config.Test) []Failure {
	var all []Failure
	x := &t.Expect
	fail := func(what, at string, want, got any, hint string) {
		all = append(all, Failure{What: what, Want: text(want), Got: text(got), Hint: hint, Range: x.At[at]})
	}
	matched := []string{}
	for _, r := range c.Routes {
		if o.matched[r.Name] {
			matched = append(matched, r.Name)
		}
	}
	if x.Routes != nil && !slices.Equal(*x.Routes, matched) {
		fail("routes", "routes", *x.Routes, matched, strings.Join(o.passed, "\n"))
	}
	for _, name := range slices.Sorted(maps.Keys(x.Inputs)) {
		if got := o.inputs[name]; !same(x.Inputs[name], got) {
			fail("the input of route "+name, "inputs", x.Inputs[name], got, o.missed(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(x.Attempts)) {
		if got := o.attempts[name]; got != x.Attempts[name] {
			fail("the attempts of route "+name, "attempts", x.Attempts[name], got, o.missed(name))
		}
	}
	switch {
	case x.Error != "" && (o.err == nil || o.err.Reason != x.Error && o.err.Code.String() != x.Error):
		fail("error", "error", x.Error, o.promise(), "")
	case x.Value != nil && (o.err != nil || !same(x.Value, o.value)):
		fail("value", "value", x.Value, o.promise(), "")
	}
	return all
}

// missed says why a route got nothing.
func (o *outcome) missed(name string) string {
	for _, why := range o.passed {
		if strings.HasPrefix(why, "route "+name+" ") {
			return why
		}
	}
	return ""
}

// promise shows how the promise settled.
func (o *outcome) promise() any {
	if o.err != nil {
		return "rejected: " + o.err.Error()
	}
	return o.value
}

// same compares JSON by meaning. Nothing and null are the same.
func same(want, got json.RawMessage) bool {
	var w, g any
	if json.Unmarshal(orNull(want), &w) != nil || json.Unmarshal(orNull(got), &g) != nil {
		return bytes.Equal(want, got)
	}
	return reflect.DeepEqual(w, g)
}

func orNull(b json.RawMessage) json.RawMessage {
	if len(b) == 0 {
		return json.RawMessage("null")
	}
	return b
}

// text shows what is compared: JSON, or a word as it is.
func text(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case json.RawMessage:
		var b bytes.Buffer
		if json.Compact(&b, orNull(x)) == nil {
			return b.String()
		}
		return string(x)
	}
	b, _ := json.Marshal(v) // numbers and names
	return string(b)
}

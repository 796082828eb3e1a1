// Package scenario reads the tests of a configuration: an event that is given,
// what the actions answer to it, and what is expected of the routes. It runs
// nothing; host/trial does.
package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/syntax"
	"github.com/pluginhost/host/sdk/wire"
)

// Test is one test block.
type Test struct {
	Name     string
	Range    diagnostic.Range
	Instance string // address of the emitter, or host
	Event    string // name of its event
	Subject  string
	Data     json.RawMessage
	Replies  map[string]Reply // by route; others resolve with nothing
	Expect   Expect
}

// Reply is what the action of a route answers. Without an error it resolves with
// Value; with one, its first Times answers are that error, or all when Times
// is 0.
type Reply struct {
	Value json.RawMessage
	Error *wire.Error
	Times int
}

// Expect is what must come out. What is not said is not checked.
type Expect struct {
	Routes   *[]string                   // those that match, in config order
	Inputs   map[string]json.RawMessage  // of the actions, by route
	Attempts map[string]int              // of the deliveries, by route
	Value    json.RawMessage             // what the promise resolves with
	Error    string                      // reason or code that it is rejected with
	At       map[string]diagnostic.Range // of each of these, by name
}

// Names are what tests may name.
type Names struct {
	Event  func(hclsyntax.Expression) (instance, event string, ok bool) // tells its problems itself
	Routes []string
}

// reader reads one block.
type reader struct {
	names Names
	diags *diagnostic.List
	test  Test
}

// Read reads a test block; ok is false when it has problems, which are told.
func Read(block *hclsyntax.Block, ctx *hcl.EvalContext, names Names, diags *diagnostic.List) (Test, bool) {
	r := &reader{names: names, diags: diags, test: Test{Name: block.Labels[0], Range: diagnostic.ToRange(block.DefRange())}}
	in := syntax.NewReader(block.Body, fmt.Sprintf("test %q", r.test.Name), ctx, diags)
	given, expect := in.Block("given"), in.Block("expect")
	in.Done()
	if given == nil || expect == nil {
		diags.Problem("A test without both parts", "A test has the blocks given { … } and expect { … }.", block.DefRange().Ptr())
		return r.test, false
	}
	ok := r.given(given, block)
	ok = r.expect(expect) && ok // what is wrong with both is told
	return r.test, ok
}

func (r *reader) given(in *syntax.Reader, block *hclsyntax.Block) bool {
	ok := false
	if e := in.Expr("event"); e != nil {
		r.test.Instance, r.test.Event, ok = r.names.Event(e)
	} else {
		r.diags.Problem("A required attribute is missing", "given needs event = plugin.name.event.", block.DefRange().Ptr())
	}
	in.Text("subject", &r.test.Subject)
	r.test.Data = json.RawMessage("{}")
	if b, _, there := r.json(in, "data"); there {
		r.test.Data = b
	}
	r.test.Replies = map[string]Reply{}
	replies, at := r.byRoute(in, "replies")
	for route, b := range replies {
		var x struct {
			Value     json.RawMessage `json:"value"`
			Error     string          `json:"error"`
			Message   string          `json:"message"`
			Retryable bool            `json:"retryable"`
			Times     int             `json:"times"`
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&x); err != nil {
			r.diags.Problem("Not a reply", fmt.Sprintf("The reply of route %s has value, or error with message, retryable and times: %v.", route, err), at)
			ok = false
			continue
		}
		reply := Reply{Value: x.Value, Times: x.Times}
		if x.Error != "" {
			reply.Error = &wire.Error{Message: x.Message, Retryable: x.Retryable}
			if _ = reply.Error.Code.UnmarshalText([]byte(x.Error)); reply.Error.Code == wire.Unknown && x.Error != "unknown" {
				reply.Error.Reason = x.Error // a word of the plugin's own
			}
		}
		r.test.Replies[route] = reply
	}
	in.Done()
	return ok
}

func (r *reader) expect(in *syntax.Reader) bool {
	x := &r.test.Expect
	x.At = map[string]diagnostic.Range{}
	ok := true
	if b, at, there := r.json(in, "routes"); there {
		var routes []string
		if err := json.Unmarshal(b, &routes); err != nil {
			r.diags.Problem("Wrong type", "routes is a list of the names of routes; [] means none.", at)
			ok = false
		}
		for _, name := range routes {
			ok = r.known(name, at) && ok
		}
		x.Routes = &routes
	}
	inputs, _ := r.byRoute(in, "inputs")
	x.Inputs = inputs
	x.Attempts = map[string]int{}
	attempts, at := r.byRoute(in, "attempts")
	for route, b := range attempts {
		var n int
		if err := json.Unmarshal(b, &n); err != nil {
			r.diags.Problem("Wrong type", fmt.Sprintf("attempts of route %s is a whole number.", route), at)
			ok = false
		}
		x.Attempts[route] = n
	}
	x.Value, _, _ = r.json(in, "value")
	in.Text("error", &x.Error)
	if x.Error != "" && x.Value != nil {
		r.diags.Problem("Both a value and an error", "A promise resolves with a value or is rejected with an error.", in.Body.Attributes["error"].SrcRange.Ptr())
		ok = false
	}
	for name, a := range in.Body.Attributes {
		x.At[name] = diagnostic.ToRange(a.SrcRange)
	}
	in.Done()
	return ok
}

// json evaluates an attribute to JSON.
func (r *reader) json(in *syntax.Reader, name string) (json.RawMessage, *hcl.Range, bool) {
	v, at, ok := in.Value(name, cty.DynamicPseudoType)
	if !ok {
		return nil, at, false
	}
	b, err := ctyjson.SimpleJSONValue{Value: v}.MarshalJSON()
	if err != nil {
		r.diags.Problem("Not a value", err.Error(), at)
		return nil, at, false
	}
	return b, at, true
}

// byRoute evaluates an attribute that is an object with the names of routes.
func (r *reader) byRoute(in *syntax.Reader, name string) (map[string]json.RawMessage, *hcl.Range) {
	b, at, ok := r.json(in, name)
	if !ok {
		return nil, at
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		r.diags.Problem("Wrong type", fmt.Sprintf("%s is an object: %s = { route = … }.", name, name), at)
		return nil, at
	}
	for _, route := range slices.Sorted(maps.Keys(m)) {
		r.known(route, at)
	}
	return m, at
}

func (r *reader) known(route string, at *hcl.Range) bool {
	if slices.Contains(r.names.Routes, route) {
		return true
	}
	r.diags.Problem("Unknown route", fmt.Sprintf("There is no route %q.%s", route, diagnostic.Suggest(route, r.names.Routes)), at)
	return false
}

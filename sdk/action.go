package sdk

import (
	"context"
	"fmt"
	"reflect"

	"github.com/pluginhost/host/sdk/internal/typed"
	"github.com/pluginhost/host/sdk/internal/work"
	"github.com/pluginhost/host/sdk/schema"
)

// ActionDecl is an action as declared; Action makes one.
type ActionDecl interface {
	declare() (schema.Action, error)
	lends() bool
}

// Handlers are the handlers of an instance.
type Handlers []Handler

// Handler binds a function to an action; (*ActionType).Handle makes one.
type Handler struct {
	action string
	handle work.Handler
	lent   bool
}

// Lent is an input as it came: bytes that are the handler's until it returns.
// After that they are overwritten: clone what is kept, also what a goroutine of
// the handler still reads. The event in the handler's ctx has no data then. It
// spares the collector all inputs, which counts where they are large and many;
// who wants to keep them takes []byte.
type Lent []byte

// ActionType is an action from I to O.
type ActionType[I, O any] struct{ name, doc string }

// Action declares an action. I and O give the schemas, as D does for Event.
// struct{} takes anything as input, and resolves with nothing as output.
func Action[I, O any](name, doc string) *ActionType[I, O] { return &ActionType[I, O]{name, doc} }

func (t *ActionType[I, O]) declare() (schema.Action, error) {
	a := schema.Action{Name: t.name, Doc: t.doc}
	var err error
	input := reflect.TypeFor[I]()
	if t.lends() {
		input = reflect.TypeFor[[]byte]()
	}
	if a.Input, err = typed.Payload(input); err != nil {
		return a, fmt.Errorf("input of action %s: %w", t.name, err)
	}
	if a.Output, err = typed.Output(reflect.TypeFor[O]()); err != nil {
		return a, fmt.Errorf("output of action %s: %w", t.name, err)
	}
	return a, nil
}

// lends reports whether handlers get their input only until they return.
func (t *ActionType[I, O]) lends() bool { return reflect.TypeFor[I]() == reflect.TypeFor[Lent]() }

// Handle binds a function to the action. A panic in it rejects the delivery
// and ends nothing else. ctx ends with the attempt. An *Error says how the
// delivery is rejected; any other error is Unknown and not retried. Bytes of in
// may be kept, unless it is Lent; but whoever keeps some of an input of more than
// 1 KiB keeps up to 256 KiB that came with it: clone what is kept for long.
func (t *ActionType[I, O]) Handle(f func(ctx context.Context, in I) (O, error)) Handler {
	return Handler{action: t.name, lent: t.lends(), handle: func(ctx context.Context, input []byte) ([]byte, error) {
		var in I
		if lent, ok := any(&in).(*Lent); ok {
			*lent = input
		} else if err := typed.Decode(input, &in); err != nil {
			return nil, Errorf(InvalidArgument, "input of action %s: %v", t.name, err)
		}
		out, err := f(ctx, in)
		if err != nil {
			return nil, err
		}
		value, err := typed.Encode(out)
		if err != nil {
			return nil, Errorf(Internal, "output of action %s: %v", t.name, err)
		}
		return value, nil
	}}
}

// FromContext returns the event that a handler is handling. Its Data must not
// be changed.
func FromContext(ctx context.Context) (*EventInfo, bool) {
	return work.Event(ctx)
}

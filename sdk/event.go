package sdk

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/pluginhost/host/sdk/internal/typed"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
)

// Events are what a plugin emits, in the order of its manifest.
type Events []EventDecl

// Actions are what a plugin handles, in the order of its manifest.
type Actions []ActionDecl

// EventDecl is an event as declared; Event makes one.
type EventDecl interface{ declare() (schema.Event, error) }

// EventType is an event with data of type D.
type EventType[D any] struct{ name, doc string }

// Event declares an event. D gives the schema of its data: json tags name the
// fields, doc tags explain them, and a field is required unless it is a
// pointer or has omitempty. []byte and json.RawMessage are sent as they are.
func Event[D any](name, doc string) *EventType[D] { return &EventType[D]{name, doc} }

func (t *EventType[D]) declare() (schema.Event, error) {
	data, err := typed.Payload(reflect.TypeFor[D]())
	if err != nil {
		err = fmt.Errorf("event %s: %w", t.name, err)
	}
	return schema.Event{Name: t.name, Doc: t.doc, Data: data}, err
}

// EmitOption changes an event before it is emitted.
type EmitOption func(*wire.Event)

// Subject sets what the event is about.
func Subject(s string) EmitOption { return func(e *wire.Event) { e.Subject = s } }

// Deadline sets until when the outcome is wanted. Without it the deadline of
// ctx is used.
func Deadline(t time.Time) EmitOption { return func(e *wire.Event) { e.Deadline = t.UnixNano() } }

// TraceContext sets the W3C trace context that came from outside.
func TraceContext(traceparent, tracestate string) EmitOption {
	return func(e *wire.Event) { e.Traceparent, e.Tracestate = traceparent, tracestate }
}

// ContentType sets the media type of data that is not JSON.
func ContentType(s string) EmitOption { return func(e *wire.Event) { e.ContentType = s } }

// Emit emits an event and returns its promise. It blocks while the window of
// unaccepted events is full. In a handler's ctx the new event is caused by the
// one being handled: causation, correlation, deadline and trace follow, and its
// deadline is not after that of its cause. Emit
// before commit or after the drain gives a promise that is rejected.
func (t *EventType[D]) Emit(ctx context.Context, env *Env, data D, opts ...EmitOption) *Promise {
	b, err := typed.Encode(data)
	if err != nil {
		return rejected(wire.NewID(), Errorf(InvalidArgument, "data of event %s: %v", t.name, err))
	}
	return env.instance.emit(ctx, t.name, b, opts)
}

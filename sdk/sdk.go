// Package sdk is what a plugin imports. A plugin is one value, Plugin, given to
// Serve in main. Nothing is registered and nothing happens at init.
package sdk

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
)

// Plugin says what a plugin is. C is its configuration: a struct whose fields
// carry the tags host:"name[,required]", default:"…", doc:"…", oneof:"a|b",
// access:"append". Field types give the meaning: time.Duration, sdk.Bytes,
// sdk.Secret, *url.URL, *template.Template (text/template), net.Listener,
// net.PacketConn, *os.File, sdk.Executable, sdk.InstanceRef; string, bool,
// numbers, slices, maps with string keys and structs are what they look like;
// any and json.RawMessage take anything. A pointer field is nil when not set.
type Plugin[C any] struct {
	Name         string // ^[a-z][a-z0-9_]*$
	Version      string // semantic version without v
	Doc          string // one line
	Events       Events
	Actions      Actions
	Capabilities []string
	// Verify checks a configuration against the machine without side effects;
	// optional. Listeners and files are nil in c. An *AttrError or several
	// joined with errors.Join point at attributes.
	Verify func(ctx context.Context, c C, progress func(msg string, percent int)) error
	// New builds an instance and shows nothing outside. ctx bounds the call.
	New func(ctx context.Context, c C, env *Env) (*Instance, error)
}

// Instance is what New returns. All fields are optional.
type Instance struct {
	Handlers Handlers
	// Run begins at commit and returns soon after its ctx ends, which it does
	// when the drain is over. An error before that ends the process with it.
	Run func(ctx context.Context) error
	// OnDrain is called when the drain begins; it stops taking new work and
	// returns when what it accepted from outside is answered, or ctx ends.
	OnDrain func(ctx context.Context)
	// Close frees what New made; after Run and the handlers, or at Abort.
	Close func() error
	// Credit is how many deliveries are handled at once; 0 means 64.
	Credit int
}

// Env is the instance's surroundings.
type Env struct {
	Address  string // http.orders
	Node     string
	Dir      string // the configuration directory
	StateDir string // a directory of the instance's own, made on first use by the plugin
	Log      hclog.Logger
}

// Error, Code, ID and EventInfo are the contract's own.
type (
	Error     = wire.Error
	Code      = wire.Code
	ID        = wire.ID
	EventInfo = wire.Event // the event being handled; see FromContext
)

// Codes, as in gRPC.
const (
	Canceled           = wire.Canceled
	Unknown            = wire.Unknown
	InvalidArgument    = wire.InvalidArgument
	DeadlineExceeded   = wire.DeadlineExceeded
	NotFound           = wire.NotFound
	AlreadyExists      = wire.AlreadyExists
	PermissionDenied   = wire.PermissionDenied
	ResourceExhausted  = wire.ResourceExhausted
	FailedPrecondition = wire.FailedPrecondition
	Aborted            = wire.Aborted
	Internal           = wire.Internal
	Unimplemented      = wire.Unimplemented
	Unavailable        = wire.Unavailable
	Unauthenticated    = wire.Unauthenticated
)

// Errorf returns an Error. Unavailable, ResourceExhausted and Aborted are
// retryable; set the field for others.
func Errorf(code Code, format string, args ...any) *Error { panic("unfinished") }

// AttrError points at an attribute of the configuration.
type AttrError struct {
	Attribute string
	Err       error
}

func (e *AttrError) Error() string { return e.Attribute + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *AttrError) Unwrap() error { return e.Err }

// Secret is a string that does not print itself.
type Secret string

// Bytes is a number of bytes, written "64KiB" in HCL.
type Bytes int64

// Executable is the absolute path of a program.
type Executable string

// InstanceRef is the address of another instance.
type InstanceRef string

// Events and Actions are what the manifest declares, in order.
type (
	Events   []EventDecl
	Actions  []ActionDecl
	Handlers []Handler
)

// EventDecl is an event as declared; Event makes one.
type EventDecl interface{ declare() schema.Event }

// ActionDecl is an action as declared; Action makes one.
type ActionDecl interface{ declare() schema.Action }

// Handler binds a function to an action; (*ActionType).Handle makes one.
type Handler struct {
	action string
	handle func(ctx context.Context, input []byte) ([]byte, error)
}

// EventType is an event with data of type D.
type EventType[D any] struct{ name, doc string }

// Event declares an event.
func Event[D any](name, doc string) *EventType[D] { return &EventType[D]{name, doc} }

func (t *EventType[D]) declare() schema.Event { panic("unfinished") }

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

// Emit emits an event and returns its promise. It blocks while the window of
// unaccepted events is full. In a handler's ctx the new event is caused by the
// one being handled: causation, correlation, deadline and trace follow. Emit
// before commit or after the drain gives a promise that is rejected.
func (t *EventType[D]) Emit(ctx context.Context, env *Env, data D, opts ...EmitOption) *Promise {
	panic("unfinished")
}

// Promise is the future outcome of an event.
type Promise struct{}

// ID returns the id of the event.
func (p *Promise) ID() ID { panic("unfinished") }

// Accepted waits until host has the event, or returns why it has not.
func (p *Promise) Accepted(ctx context.Context) error { panic("unfinished") }

// Done is closed when the promise is settled.
func (p *Promise) Done() <-chan struct{} { panic("unfinished") }

// Wait waits for the outcome. The error is an *Error, also when ctx ends.
func (p *Promise) Wait(ctx context.Context) (Value, error) { panic("unfinished") }

// Value is what a promise was resolved with: JSON, or nothing.
type Value []byte

// Into decodes the value.
func (v Value) Into(dst any) error { panic("unfinished") }

// ActionType is an action from I to O.
type ActionType[I, O any] struct{ name, doc string }

// Action declares an action.
func Action[I, O any](name, doc string) *ActionType[I, O] { return &ActionType[I, O]{name, doc} }

func (t *ActionType[I, O]) declare() schema.Action { panic("unfinished") }

// Handle binds a function to the action. A panic in it rejects the delivery
// and ends nothing else. ctx ends with the attempt.
func (t *ActionType[I, O]) Handle(f func(ctx context.Context, in I) (O, error)) Handler {
	panic("unfinished")
}

// FromContext returns the event that a handler is handling. Its Data must not
// be changed.
func FromContext(ctx context.Context) (*EventInfo, bool) { panic("unfinished") }

// Serve runs the plugin; it is the last call of main and does not return.
func Serve[C any](p Plugin[C]) { panic("unfinished") }

// Package sdk is what a plugin imports. A plugin is one value, Plugin, given to
// Serve in main. Nothing is registered and nothing happens at init.
//
// A plugin declares its configuration as a struct, its events with Event and
// its actions with Action; that is its manifest. New builds an instance from a
// configuration, Run and the handlers do the work, and events are emitted with
// (*EventType).Emit, which returns a promise of the outcome.
//
// The package speaks to host through sdk/wire and hides it; sdk/sdktest runs a
// plugin without host.
package sdk

import (
	"context"
	"io"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/sdk/wire"
)

// Plugin says what a plugin is. C is its configuration: a struct whose fields
// carry the tags host:"name[,required]", default:"…", doc:"…", oneof:"a|b",
// access:"append". Field types give the meaning: time.Duration, sdk.Bytes,
// sdk.Secret, *url.URL, *template.Template (text/template), net.Listener,
// net.PacketConn, *os.File, sdk.Executable, sdk.InstanceRef; string, bool,
// numbers, slices, maps with string keys and structs are what they look like;
// any and json.RawMessage take anything. A pointer field is nil when not set.
// A default is text for strings, durations, bytes and their like, and JSON for
// everything else. A field with the tag host:"-" is the plugin's own.
type Plugin[C any] struct {
	Name    string // ^[a-z][a-z0-9_]*$
	Version string // semantic version without v
	Doc     string // one line
	Events  Events
	Actions Actions
	// Capabilities are what the plugin needs beyond its own files: "network" to
	// make internet connections (listeners come without), "programs" to run
	// programs that nobody knows before, which leaves it unconfined. Whoever
	// installs the plugin reads them.
	Capabilities []string
	// Verify checks a configuration against the machine without side effects;
	// optional. Listeners and files are nil in c. An *AttrError or several
	// joined with errors.Join point at attributes. ctx ends after verify_timeout
	// (30 s unless set), or when nobody wants to know any more: return then, what
	// does not is given up. progress may be called from any goroutine; percent is
	// from 0 to 100. After the return it does nothing.
	Verify func(ctx context.Context, c C, progress func(msg string, percent int)) error
	// New builds an instance and shows nothing outside. ctx bounds the call, by
	// prepare_timeout (30 s unless set), and not the life of the instance. It
	// must return an instance or an error, which may be as that of Verify.
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
	// Listeners and files of the configuration are closed after it.
	Close func() error
	// Credit is how many deliveries are handled at once; 0 means 64.
	Credit int
}

const defaultCredit = 64

// Env is the instance's surroundings.
type Env struct {
	Address  string // http.orders
	Node     string
	Dir      string // the configuration directory
	StateDir string // a directory of the instance's own, made on first use by the plugin
	Log      hclog.Logger
	Stdout   io.Writer // the daemon's standard output, in whole lines

	instance *instance
}

// Logger returns Log with the id of the event that ctx handles.
func (e *Env) Logger(ctx context.Context) hclog.Logger {
	if event, ok := FromContext(ctx); ok {
		return e.Log.With("event", event.ID.String())
	}
	return e.Log
}

// Error is why a promise or a delivery was rejected.
type Error = wire.Error

// Code is the kind of an Error, as in gRPC.
type Code = wire.Code

// ID is the id of an event.
type ID = wire.ID

// EventInfo is the event being handled; see FromContext.
type EventInfo = wire.Event

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
	OutOfRange         = wire.OutOfRange
	Internal           = wire.Internal
	Unimplemented      = wire.Unimplemented
	Unavailable        = wire.Unavailable
	Unauthenticated    = wire.Unauthenticated
)

// Secret is a string that does not print itself.
type Secret string

// String hides the secret.
func (Secret) String() string { return "(secret)" }

// GoString hides the secret.
func (Secret) GoString() string { return "(secret)" }

// Bytes is a number of bytes, written "64KiB" in HCL.
type Bytes int64

// Executable is the absolute path of a program.
type Executable string

// InstanceRef is the address of another instance.
type InstanceRef string

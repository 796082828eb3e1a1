package wire

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pluginhost/host/sdk/wire/code"
)

// Code is the kind of an Error, numbered as in gRPC.
type Code = code.Code

// The codes, with gRPC's meanings.
const (
	Canceled           = code.Canceled
	Unknown            = code.Unknown
	InvalidArgument    = code.InvalidArgument
	DeadlineExceeded   = code.DeadlineExceeded
	NotFound           = code.NotFound
	AlreadyExists      = code.AlreadyExists
	PermissionDenied   = code.PermissionDenied
	ResourceExhausted  = code.ResourceExhausted
	FailedPrecondition = code.FailedPrecondition
	Aborted            = code.Aborted
	OutOfRange         = code.OutOfRange
	Unimplemented      = code.Unimplemented
	Internal           = code.Internal
	Unavailable        = code.Unavailable
	DataLoss           = code.DataLoss
	Unauthenticated    = code.Unauthenticated
)

// Reasons that host itself gives. A plugin may give its own.
const (
	ReasonUnrouted       = "unrouted"        // NotFound: no route matches the event
	ReasonAlreadySettled = "already_settled" // FailedPrecondition
	ReasonStaleAttempt   = "stale_attempt"   // Aborted
	ReasonQueueFull      = "queue_full"      // ResourceExhausted
	ReasonCrashed        = "crashed"         // Unavailable: the plugin process ended
	ReasonPanic          = "panic"           // Internal: a handler panicked
	ReasonDraining       = "draining"        // Unavailable
	ReasonUnknownToken   = "unknown_token"   // NotFound: no delivery has or had this token
	ReasonWithdrawn      = "withdrawn"       // Canceled: the emitter does not want the outcome
	ReasonRejected       = "rejected"        // Canceled: another route rejected the promise
	ReasonNotDead        = "not_dead"        // NotFound: the dead delivery was replayed by somebody else, or forgotten
	ReasonForged         = "forged"          // PermissionDenied: in the name of another instance
)

// Error is why a promise or a delivery was rejected.
type Error struct {
	Code      Code            `json:"code"`
	Reason    string          `json:"reason,omitempty"` // one word for machines
	Message   string          `json:"message"`
	Retryable bool            `json:"retryable,omitempty"`
	Details   json.RawMessage `json:"details,omitempty"`
	Instance  string          `json:"instance,omitempty"` // where it arose; host sets it
	Version   string          `json:"version,omitempty"`  // of the plugin there; host sets it
}

// Error returns the reason or code and the message.
func (e *Error) Error() string {
	name := e.Reason
	if name == "" {
		name = e.Code.String()
	}
	if e.Instance != "" {
		return fmt.Sprintf("%s: %s (%s)", name, e.Message, e.Instance)
	}
	return name + ": " + e.Message
}

// Is makes errors.Is find the context's errors in what a call returned.
func (e *Error) Is(target error) bool {
	return target == context.DeadlineExceeded && e.Code == DeadlineExceeded ||
		target == context.Canceled && e.Code == Canceled
}

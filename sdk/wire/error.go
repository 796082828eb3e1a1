package wire

import (
	"context"
	"encoding/json"
	"fmt"
)

// Code is the kind of an Error, numbered as in gRPC.
type Code uint32

// The codes, with gRPC's numbers and meanings.
const (
	Canceled           Code = 1
	Unknown            Code = 2
	InvalidArgument    Code = 3
	DeadlineExceeded   Code = 4
	NotFound           Code = 5
	AlreadyExists      Code = 6
	PermissionDenied   Code = 7
	ResourceExhausted  Code = 8
	FailedPrecondition Code = 9
	Aborted            Code = 10
	OutOfRange         Code = 11
	Unimplemented      Code = 12
	Internal           Code = 13
	Unavailable        Code = 14
	DataLoss           Code = 15
	Unauthenticated    Code = 16
)

var codeNames = [...]string{
	"ok", "canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found",
	"already_exists", "permission_denied", "resource_exhausted", "failed_precondition",
	"aborted", "out_of_range", "unimplemented", "internal", "unavailable", "data_loss",
	"unauthenticated",
}

// String returns gRPC's name in lower case, for example deadline_exceeded.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code_%d", uint32(c))
}

// MarshalText writes the name.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a name; an unknown one is Unknown.
func (c *Code) UnmarshalText(b []byte) error {
	*c = Unknown
	for i, n := range codeNames {
		if n == string(b) {
			*c = Code(i)
		}
	}
	return nil
}

// Reasons that host itself gives. A plugin may give its own.
const (
	ReasonUnrouted       = "unrouted"        // NotFound: no route matches the event
	ReasonAlreadySettled = "already_settled" // FailedPrecondition
	ReasonStaleAttempt   = "stale_attempt"   // Aborted
	ReasonQueueFull      = "queue_full"      // ResourceExhausted
	ReasonCrashed        = "crashed"         // Unavailable: the plugin process ended
	ReasonPanic          = "panic"           // Internal: a handler panicked
	ReasonDraining       = "draining"        // Unavailable
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

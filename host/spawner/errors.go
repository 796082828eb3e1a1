package spawner

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Kind says what sort of refusal an Error is.
type Kind string

// Kinds.
const (
	Busy     Kind = "busy"      // the address is in use
	Denied   Kind = "denied"    // no permission
	NotLocal Kind = "not_local" // the address is not one of this machine
	Missing  Kind = "missing"   // no such file, directory, process or lease
	Limit    Kind = "limit"     // the policy's bound is reached
	Refused  Kind = "refused"   // no rule of the policy allows it
	Lacking  Kind = "lacking"   // this machine cannot do what was required
	Invalid  Kind = "invalid"   // the request makes no sense
	Failed   Kind = "failed"    // anything else
)

// Error is a request that was refused or failed.
type Error struct {
	Kind    Kind
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// ErrorOf makes an Error of any error.
func ErrorOf(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	kind := Failed
	var rule interface{ Rule() } // a refusal of the policy, or of what is executed
	switch {
	case errors.As(err, &rule):
		kind = Refused
	case errors.Is(err, unix.EADDRINUSE):
		kind = Busy
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		kind = Denied
	case errors.Is(err, unix.EADDRNOTAVAIL):
		kind = NotLocal
	case errors.Is(err, fs.ErrNotExist):
		kind = Missing
	}
	return &Error{Kind: kind, Message: err.Error()}
}

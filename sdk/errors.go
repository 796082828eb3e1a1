package sdk

import (
	"fmt"

	"github.com/pluginhost/host/sdk/internal/failure"
)

// Errorf returns an Error. Unavailable, ResourceExhausted and Aborted are
// retryable; set the field for others.
func Errorf(code Code, format string, args ...any) *Error {
	retryable := code == Unavailable || code == ResourceExhausted || code == Aborted
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Retryable: retryable}
}

// AttrError points at an attribute of the configuration: Attribute is its path,
// for example listen or rules[2].path, and Err says what is wrong with it.
type AttrError = failure.AttrError

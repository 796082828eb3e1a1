// Package failure makes of an author's error what the contract has for it.
package failure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
)

// AttrError points at an attribute of the configuration.
type AttrError struct {
	Attribute string
	Err       error
}

func (e *AttrError) Error() string { return e.Attribute + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *AttrError) Unwrap() error { return e.Err }

// At returns an *AttrError.
func At(attribute string, err error) error { return &AttrError{attribute, err} }

// Bounds of what an author's error may carry, far below the lane's.
const (
	maxMessage = 8 << 10 // bytes
	maxStack   = 16 << 10
)

// Of is an author's error as the contract has it.
func Of(err error) *wire.Error {
	var e *wire.Error
	switch {
	case errors.As(err, &e):
		c := *e
		if c.Code == 0 {
			c.Code = wire.Unknown
		}
		e = &c
	case errors.Is(err, context.DeadlineExceeded):
		e = &wire.Error{Code: wire.DeadlineExceeded, Message: err.Error()}
	case errors.Is(err, context.Canceled):
		e = &wire.Error{Code: wire.Canceled, Message: err.Error()}
	default:
		e = &wire.Error{Code: wire.Unknown, Message: err.Error()}
	}
	if len(e.Message) > maxMessage {
		e.Message = e.Message[:maxMessage] + "…"
	}
	if len(e.Details) > wire.MaxEvent {
		e.Details = nil
	}
	return e
}

// Panicked is the error of a function that panicked with v.
func Panicked(what string, v any) *wire.Error {
	stack := debug.Stack()
	if len(stack) > maxStack {
		stack = stack[:maxStack]
	}
	details, _ := json.Marshal(map[string]string{"stack": string(stack)}) // strings cannot fail
	return &wire.Error{Code: wire.Internal, Reason: wire.ReasonPanic, Message: fmt.Sprintf("panic in %s: %v", what, v), Details: details}
}

// Diagnostics are what an author's error says of a configuration: one for each
// error joined into it.
func Diagnostics(err error) []schema.Diagnostic {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // the joined errors of this very error
		var out []schema.Diagnostic
		for _, e := range joined.Unwrap() {
			out = append(out, Diagnostics(e)...)
		}
		return out
	}
	d := schema.Diagnostic{Severity: schema.Error, Summary: err.Error()}
	var attr *AttrError
	if errors.As(err, &attr) {
		d.Attribute = attr.Attribute
		if direct, ok := err.(*AttrError); ok { //nolint:errorlint // the attribute is said beside the summary
			d.Summary = direct.Err.Error()
		}
	}
	var e *wire.Error
	if errors.As(err, &e) && e.Reason == wire.ReasonPanic {
		var details struct{ Stack string }
		_ = json.Unmarshal(e.Details, &details) // a diagnostic without the stack is still one
		d.Summary, d.Detail = e.Message, details.Stack
	}
	if first, rest, more := strings.Cut(d.Summary, "\n"); more && d.Detail == "" {
		d.Summary, d.Detail = first, rest
	}
	return []schema.Diagnostic{d}
}

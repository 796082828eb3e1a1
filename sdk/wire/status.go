package wire

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pluginhost/host/sdk/wire/internal/pb"
)

// Is makes errors.Is find the context's errors in what a call returned.
func (e *Error) Is(target error) bool {
	return target == context.DeadlineExceeded && e.Code == DeadlineExceeded ||
		target == context.Canceled && e.Code == Canceled
}

// toStatus is err as gRPC carries it: code and message for anybody, and an
// Error of ours in the details for whoever knows it.
func toStatus(err error) error {
	var e *Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.DeadlineExceeded):
		e = &Error{Code: DeadlineExceeded, Message: err.Error()}
	case errors.Is(err, context.Canceled):
		e = &Error{Code: Canceled, Message: err.Error()}
	default:
		e = &Error{Code: Unknown, Message: err.Error()}
	}
	e = e.scrubbed()
	if e.Code == 0 {
		e.Code = Unknown
	}
	s := status.New(codes.Code(e.Code), e.Message)
	if d, err := s.WithDetails(&pb.Error{Code: uint32(e.Code), Reason: e.Reason, Message: e.Message,
		Retryable: e.Retryable, Details: e.Details, Instance: e.Instance, Version: e.Version}); err == nil {
		s = d
	}
	return s.Err()
}

// fromStatus is the *Error that gRPC carried, or nil.
func fromStatus(err error) error {
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	for _, d := range s.Details() {
		if e, ok := d.(*pb.Error); ok {
			return &Error{Code: Code(s.Code()), Reason: e.GetReason(), Message: e.GetMessage(),
				Retryable: e.GetRetryable(), Details: e.GetDetails(), Instance: e.GetInstance(), Version: e.GetVersion()}
		}
	}
	return &Error{Code: Code(s.Code()), Message: s.Message()}
}

// valid is s as protobuf carries it.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

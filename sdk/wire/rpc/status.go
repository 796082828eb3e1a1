package rpc

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pluginhost/host/sdk/wire"
	"github.com/pluginhost/host/sdk/wire/internal/pb"
)

// toStatus is err as gRPC carries it: code and message for anybody, and an
// Error of ours in the details for whoever knows it.
func toStatus(err error) error {
	var e *wire.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.DeadlineExceeded):
		e = &wire.Error{Code: wire.DeadlineExceeded, Message: err.Error()}
	case errors.Is(err, context.Canceled):
		e = &wire.Error{Code: wire.Canceled, Message: err.Error()}
	default:
		e = &wire.Error{Code: wire.Unknown, Message: err.Error()}
	}
	code := e.Code
	if code == 0 {
		code = wire.Unknown
	}
	s := status.New(codes.Code(code), valid(e.Message))
	if d, err := s.WithDetails(&pb.Error{Code: uint32(code), Reason: valid(e.Reason), Message: valid(e.Message),
		Retryable: e.Retryable, Details: e.Details, Instance: valid(e.Instance), Version: valid(e.Version)}); err == nil {
		s = d
	}
	return s.Err()
}

// fromStatus is the *wire.Error that gRPC carried, or nil.
func fromStatus(err error) error {
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	for _, d := range s.Details() {
		if e, ok := d.(*pb.Error); ok {
			return &wire.Error{Code: wire.Code(s.Code()), Reason: e.GetReason(), Message: e.GetMessage(),
				Retryable: e.GetRetryable(), Details: e.GetDetails(), Instance: e.GetInstance(), Version: e.GetVersion()}
		}
	}
	return &wire.Error{Code: wire.Code(s.Code()), Message: s.Message()}
}

// valid is s as protobuf carries it.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Package reason holds the errors that the router itself gives, so that what
// users read of it is in one place: what happened, where, and what helps.
package reason

import (
	"fmt"
	"time"

	"github.com/pluginhost/host/sdk/wire"
)

// NoSuchEvent is for an emitter whose message names an event that its manifest
// does not have.
func NoSuchEvent(source string, index uint32, events int) *wire.Error {
	return errorf(wire.InvalidArgument, "%s emitted event number %d, but its manifest has %d events", source, index, events)
}

// TooLarge is for an event with too much data.
func TooLarge(event string, bytes int) *wire.Error {
	return errorf(wire.InvalidArgument, "the data of %s has %d bytes, the limit is %d; emit a reference to it instead",
		event, bytes, wire.MaxEvent)
}

// Unrouted is for an event that no route takes.
func Unrouted(event string) *wire.Error {
	return because(wire.ReasonUnrouted, errorf(wire.NotFound, "no route takes this %s", event))
}

// EmittedLate is for an event whose deadline was over from the start.
func EmittedLate(event string) *wire.Error {
	return errorf(wire.DeadlineExceeded, "the deadline of %s had passed when it was emitted", event)
}

// WindowFull is for an emitter that does not wait to be accepted.
func WindowFull(source string) *wire.Error {
	return again(because(wire.ReasonQueueFull, errorf(wire.ResourceExhausted,
		"%d events of %s wait for room already; wait for Accepted before emitting more", wire.EmitWindow, source)))
}

// QueueFull is for a delivery that a full route refused, or dropped as its oldest.
func QueueFull(what, route string, queued int) *wire.Error {
	return again(because(wire.ReasonQueueFull, errorf(wire.ResourceExhausted,
		"%s: %d deliveries wait on route %s", what, queued, route)))
}

// Shutdown is for what is pending when host ends.
func Shutdown() *wire.Error {
	return again(because(wire.ReasonDraining, errorf(wire.Unavailable, "host is shutting down")))
}

// Gone is for what waits for an instance that will not come back.
func Gone(instance string) *wire.Error {
	return at(instance, "", errorf(wire.Unavailable, "the instance is gone"))
}

// NoAction is for what waits on a route of an earlier generation for an action
// that the instance does not have any more.
func NoAction(instance, version, action string) *wire.Error {
	return at(instance, version, errorf(wire.Unavailable, "the instance that took over has no action %s", action))
}

// NoAnswer is for an attempt that was not settled in time.
func NoAnswer(instance, action string, after time.Duration, attempt uint32) *wire.Error {
	return again(errorf(wire.DeadlineExceeded, "no answer from %s.%s within %s, attempt %d",
		instance, action, after.Round(time.Millisecond), attempt))
}

// Expired is for a delivery whose event's deadline passed while it waited.
func Expired(instance, why string, after time.Duration) *wire.Error {
	return at(instance, "", errorf(wire.DeadlineExceeded, "the event's deadline passed after %s while %s %s",
		after.Round(time.Millisecond), instance, why))
}

// Unsendable is for a delivery that does not fit the lane.
func Unsendable(err error) *wire.Error {
	return errorf(wire.InvalidArgument, "the event is %v", err)
}

// ValueTooLarge is for an answer that is larger than a value may be.
func ValueTooLarge(bytes int) *wire.Error {
	return errorf(wire.Internal, "the value has %d bytes, the limit is %d", bytes, wire.MaxEvent)
}

// LostOutcome is for an emitter whose lane does not take the outcome.
func LostOutcome(err error) *wire.Error {
	return errorf(wire.Internal, "the event was settled, but its outcome is %v", err)
}

// Crashed is for what was in flight when a process ended without a word.
func Crashed() *wire.Error {
	return again(because(wire.ReasonCrashed, errorf(wire.Unavailable, "the plugin process ended")))
}

// AlreadySettled answers a settle of what is settled.
func AlreadySettled(instance string, delivery uint64) *wire.Error {
	return at(instance, "", because(wire.ReasonAlreadySettled,
		errorf(wire.FailedPrecondition, "delivery %d was settled before", delivery)))
}

// StaleAttempt answers a settle of an attempt that was given up.
func StaleAttempt(instance string, delivery uint64, attempt uint32) *wire.Error {
	return at(instance, "", because(wire.ReasonStaleAttempt,
		errorf(wire.Aborted, "attempt %d of delivery %d was given up", attempt, delivery)))
}

func errorf(code wire.Code, format string, args ...any) *wire.Error {
	return &wire.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func because(reason string, e *wire.Error) *wire.Error {
	e.Reason = reason
	return e
}

func again(e *wire.Error) *wire.Error {
	e.Retryable = true
	return e
}

func at(instance, version string, e *wire.Error) *wire.Error {
	e.Instance, e.Version = instance, version
	return e
}

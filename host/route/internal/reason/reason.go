// Package reason holds the errors that the router itself gives, so that what
// users read of it is in one place: what happened, where, and what helps.
package reason

import (
	"bytes"
	"fmt"
	"strings"
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

// NotRedeemed is for a detached delivery that nobody settled in time.
func NotRedeemed(instance, action string, after time.Duration, attempt uint32) *wire.Error {
	return again(at(instance, "", errorf(wire.DeadlineExceeded, "nobody settled the delivery that %s.%s detached within %s, attempt %d",
		instance, action, after.Round(time.Millisecond), attempt)))
}

// TooManyDetached answers a detach that is one too many.
func TooManyDetached(instance string, limit int) *wire.Error {
	return again(because(wire.ReasonQueueFull, errorf(wire.ResourceExhausted,
		"%d deliveries of %s are detached and not settled; no more can be", limit, instance)))
}

// UnknownToken answers a token that never was.
func UnknownToken() *wire.Error {
	return because(wire.ReasonUnknownToken, errorf(wire.NotFound, "there is no delivery with this token"))
}

// TokenUsed answers a token whose delivery was settled with it.
func TokenUsed() *wire.Error {
	return because(wire.ReasonAlreadySettled, errorf(wire.FailedPrecondition, "the delivery was settled with this token before"))
}

// TokenStale answers a token whose attempt was given up.
func TokenStale() *wire.Error {
	return because(wire.ReasonStaleAttempt, errorf(wire.Aborted, "the attempt of this token was given up"))
}

// Withdrawn is for an event whose emitter does not wait for it any more.
func Withdrawn(instance string) *wire.Error {
	return because(wire.ReasonWithdrawn, errorf(wire.Canceled, "%s has withdrawn the event", instance))
}

// Rejected is for a delivery whose promise another route rejected.
func Rejected(route string) *wire.Error {
	return because(wire.ReasonRejected, errorf(wire.Canceled, "route %s rejected the event's promise", route))
}

// Forged answers who acts in the name of another.
func Forged(instance, format string, args ...any) *wire.Error {
	return because(wire.ReasonForged, errorf(wire.PermissionDenied, "%s "+format, append([]any{instance}, args...)...))
}

// NoRoute is for a dead delivery whose route is not there any more.
func NoRoute(route, event string) *wire.Error {
	return errorf(wire.NotFound, "there is no route %s for %s now; put it back, or take the event from its dead letter", route, event)
}

// NotDead is for a delivery that is not dead, or not any more: of two replays
// at once one is told so.
func NotDead() *wire.Error {
	return because(wire.ReasonNotDead, errorf(wire.NotFound, "it is not among the dead deliveries: it was replayed already, was forgotten, or never died"))
}

// AlreadySettled answers a settle of what is settled.
func AlreadySettled(instance string, delivery uint64) *wire.Error {
	return at(instance, "", because(wire.ReasonAlreadySettled,
		errorf(wire.FailedPrecondition, "delivery %d was settled or detached before", delivery)))
}

// StaleAttempt answers a settle of an attempt that was given up.
func StaleAttempt(instance string, delivery uint64, attempt uint32) *wire.Error {
	return at(instance, "", because(wire.ReasonStaleAttempt,
		errorf(wire.Aborted, "attempt %d of delivery %d was given up", attempt, delivery)))
}

// Located returns a copy of an error that says where it arose, and of nil nil.
func Located(err *wire.Error, instance, version string) *wire.Error {
	if err == nil {
		return nil
	}
	e := *err
	e.Details = bytes.Clone(err.Details)
	e.Instance, e.Version = instance, version
	if e.Code == 0 {
		e.Code = wire.Unknown
	}
	return &e
}

// Bounds of what is kept of an error that nobody waits for any more.
const (
	keptText    = 1 << 10 // bytes of its message, and of its details
	keptReason  = 64      // bytes
	keptSubject = 256     // bytes of a subject beside it
)

// Brief returns what is kept of an error: a plugin may put 4 MiB into one, and
// thousands are remembered. One that is small is returned as it is. Details that
// are too many are left out, since a part of them is no JSON.
func Brief(err *wire.Error) *wire.Error {
	if err == nil || len(err.Message) <= keptText && len(err.Details) <= keptText && len(err.Reason) <= keptReason {
		return err
	}
	e := *err
	e.Message, e.Reason = Cut(e.Message, keptText), Cut(e.Reason, keptReason)
	if len(e.Details) > keptText {
		e.Details = nil
	}
	return &e
}

// Subject returns what is kept of a subject.
func Subject(s string) string { return Cut(s, keptSubject) }

// Cut returns at most n bytes of a text, and a mark where that is not all of it.
// The rest is not kept in memory.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(strings.Clone(s[:n]), "") + "…"
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

// What a delivery waits for, in the words of host status and host events why.

// WaitsForNobody is for an address whose instance will not come back.
func WaitsForNobody(instance, why string) string { return "waits for nobody: " + instance + ": " + why }

// WaitsForInstance is for an address where nobody is attached.
func WaitsForInstance(instance string) string {
	return "waits for " + instance + ", which is not running"
}

// WaitsForAction is for an instance that does not have the action.
func WaitsForAction(instance, action string) string {
	return fmt.Sprintf("waits for a version of %s that has the action %s", instance, action)
}

// WaitsForProcess is for an instance whose process is ending.
func WaitsForProcess(instance string) string {
	return "waits for " + instance + ", whose process is gone"
}

// WaitsForConcurrency is for a route that has as many in flight as it may.
func WaitsForConcurrency(route string, inflight, limit int) string {
	return fmt.Sprintf("waits for concurrency of route %s: %d of %d in flight", route, inflight, limit)
}

// WaitsForCredit is for an instance that has as many in flight as it takes, or
// that holds credit back for handlers that were given up and have not returned.
func WaitsForCredit(instance string, inflight, capacity int) string {
	s := fmt.Sprintf("waits for credit of %s: %d of %d in flight", instance, inflight, capacity)
	switch {
	case capacity == 0:
		s = "waits for the first credit of " + instance
	case inflight < capacity:
		s += fmt.Sprintf(", %d given up or detached and not returned", capacity-inflight)
	}
	return s
}

// WaitsForTurn is for a queue of which nothing is ready: all are behind another
// of their subject, or rest before their next attempt.
func WaitsForTurn(route string, waiting int) string {
	return fmt.Sprintf("all %d of route %s wait for an earlier one of their subject, or for their next attempt", waiting, route)
}

// WaitsForSubject is for a delivery behind another of its subject.
func WaitsForSubject(subject, route string) string {
	return fmt.Sprintf("waits for an earlier event of subject %q on route %s", subject, route)
}

// WaitsForAttempt is for a delivery that rests after a failure.
func WaitsForAttempt(next uint32, of int, pause time.Duration) string {
	return fmt.Sprintf("waits %s for attempt %d of %d", pause.Round(time.Millisecond), next, of)
}

// WaitsForRoom is for an emitter; stuck says what keeps the queue from moving.
func WaitsForRoom(route string, queued, limit int, stuck string) string {
	s := fmt.Sprintf("waits for room in the queue of route %s: %d of %d", route, queued, limit)
	if stuck != "" {
		s += ", which " + stuck
	}
	return s
}

// WaitsInLine is for a delivery that is ready and whose turn comes.
func WaitsInLine(route, stuck string) string {
	if stuck == "" {
		return "waits its turn on route " + route
	}
	return stuck
}

// WaitsForAnswer is for a delivery in flight.
func WaitsForAnswer(instance, action string, since time.Duration, attempt uint32, of int) string {
	return fmt.Sprintf("waits for the answer of %s.%s since %s, attempt %d of %d", instance, action, since.Round(time.Millisecond), attempt, of)
}

// WaitsForToken is for a detached delivery.
func WaitsForToken(instance string, since, left time.Duration) string {
	return fmt.Sprintf("was detached by %s; waits since %s for whoever has its token, %s more", instance, since.Round(time.Millisecond), left.Round(time.Millisecond))
}

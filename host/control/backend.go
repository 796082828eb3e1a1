// Package control is the API of the running daemon, defined once in
// control.proto and served by connect on a unix socket, so that the command
// line uses it now and a web page can later. It holds no state: a Backend
// answers.
package control

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// Backend is what the API shows of the daemon.
type Backend interface {
	Status(ctx context.Context) (observe.Status, error)
	Plugins(ctx context.Context) ([]catalog.Entry, error)
	// Plan says what Reload would do, and changes nothing.
	Plan(ctx context.Context) (apply.Result, error)
	// Reload applies the configuration on disk. progress is called from one
	// goroutine until Reload returns. Only faults of the daemon itself are
	// errors; a refused configuration is an Outcome.
	Reload(ctx context.Context, progress func(apply.Progress)) (apply.Result, error)
	// Emit emits an event as an instance would and waits for its outcome.
	Emit(ctx context.Context, e EmitRequest) (EmitResult, error)
	// Tail passes recent and new steps of events until ctx ends or f fails.
	Tail(ctx context.Context, backlog int, match func(*observe.Entry) bool, f func(observe.Entry) error) error
}

// EmitRequest is an event sent by hand.
type EmitRequest struct {
	Type    string // http.orders.request
	Subject string
	Data    json.RawMessage
	Timeout time.Duration // deadline of the event; 0 means 30 s
}

// EmitResult is how its promise settled.
type EmitResult struct {
	ID    wire.ID         `json:"id"`
	Value json.RawMessage `json:"value,omitempty"`
	Err   *wire.Error     `json:"error,omitempty"`
}

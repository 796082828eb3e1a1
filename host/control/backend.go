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
	"github.com/pluginhost/host/host/generation"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// Backend is what the API shows of the daemon.
type Backend interface {
	Status(ctx context.Context) (observe.Status, error)
	Plugins(ctx context.Context) ([]catalog.Entry, error)
	// Plan says what Reload would do, and changes nothing. hold keeps what it
	// reserved that long.
	Plan(ctx context.Context, hold time.Duration, progress func(apply.Progress)) (apply.Result, error)
	// Reload applies the configuration on disk, or what the request says; who
	// asks is known by the connection. progress is called from one goroutine
	// until Reload returns. Only faults of the daemon itself are errors; a
	// refused configuration is an Outcome.
	Reload(ctx context.Context, req apply.Request, progress func(apply.Progress)) (apply.Result, error)
	// Confirm ends the probation of the generation that is serving.
	Confirm(ctx context.Context) (uint64, error)
	// Generations lists those that are kept, and who tried to make one.
	Generations(ctx context.Context) (Generations, error)
	// Emit emits an event as an instance would and waits for its outcome.
	Emit(ctx context.Context, e EmitRequest) (EmitResult, error)
	// Settle settles a detached delivery by its token. The error is a
	// *wire.Error with reason unknown_token, stale_attempt or already_settled
	// when that is not taken.
	Settle(ctx context.Context, s SettleRequest) error
	// Story tells the life of an event.
	Story(ctx context.Context, s StoryRequest) (Story, error)
	// Dead lists the deliveries that failed for good and are kept.
	Dead(ctx context.Context) (DeadList, error)
	// Replay gives dead deliveries to their routes again.
	Replay(ctx context.Context, r ReplayRequest) ([]observe.Replayed, error)
	// Tail passes recent and new steps of events until ctx ends or f fails.
	Tail(ctx context.Context, backlog int, match func(*observe.Entry) bool, f func(observe.Entry) error) error
}

// Generations is the past, oldest first.
type Generations struct {
	Kept     []Kept               `json:"kept"`
	Attempts []generation.Attempt `json:"attempts"`
}

// Kept is a generation that the daemon can return to.
type Kept struct {
	Generation uint64              `json:"generation"`
	Time       time.Time           `json:"time"`
	Who        generation.Who      `json:"who"`
	Summary    string              `json:"summary"`
	From       uint64              `json:"from,omitempty"` // whose configuration it has, when it was a return
	Serving    bool                `json:"serving"`
	Confirm    *generation.Confirm `json:"confirm,omitempty"`
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

// SettleRequest is the outcome of a detached delivery.
type SettleRequest struct {
	Token string          `json:"token"`
	Value json.RawMessage `json:"value,omitempty"`
	Err   *wire.Error     `json:"error,omitempty"` // rejects
}

// StoryRequest names an event: by its id, as the last one about a subject, or
// as the last one that failed.
type StoryRequest struct {
	Event       wire.ID `json:"event,omitzero"`
	Subject     string  `json:"subject,omitempty"`
	LastFailure bool    `json:"last_failure,omitempty"`
}

// Story is what is known of an event: what the recorder has of it, of its
// causes and of what it led to, in order, and which deliveries still wait.
type Story struct {
	Event   wire.ID           `json:"event"`
	Entries []observe.Entry   `json:"entries"`
	Waiting []observe.Waiting `json:"waiting"`
}

// DeadList are the dead deliveries that are kept, oldest first.
type DeadList struct {
	Dead      []observe.Dead `json:"dead"`
	Forgotten uint64         `json:"forgotten"` // to make room
}

// ReplayRequest names dead deliveries: of some events, of a route, of some
// events on a route, or all.
type ReplayRequest struct {
	Events []wire.ID `json:"event"`
	Route  string    `json:"route,omitempty"`
	All    bool      `json:"all,omitempty"`
}

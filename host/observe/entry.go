// Package observe holds what can be seen of the daemon: the recorder with the
// life of recent events, and the status of instances and subsystems. It
// decides nothing; everybody above writes to it, control and the command line
// read it.
package observe

import (
	"time"

	"github.com/pluginhost/host/sdk/wire"
)

// Step is one step in the life of an event.
type Step string

// Steps.
const (
	Emitted      Step = "emitted"
	NotMatched   Step = "not_matched" // a route's when was false or failed (Err)
	Queued       Step = "queued"
	Delivered    Step = "delivered"
	Retrying     Step = "retrying"      // an attempt failed (Err), another follows
	Settled      Step = "settled"       // a delivery ended; Err when for good without success
	DeadLettered Step = "dead_lettered" // the delivery went to its dead letter action
	Dropped      Step = "dropped"       // by drop_oldest, with Err
	Resolved     Step = "resolved"      // the promise
	Rejected     Step = "rejected"      // the promise, with Err
	Detached     Step = "detached"      // a delivery waits for whoever has its token
	Replaying    Step = "replaying"     // a dead delivery is given to its route again
	Refused      Step = "refused"       // an attempt to act as somebody else (Err)
	Missed       Step = "missed"        // not of an event: Attempt entries came too fast for this reader
)

// Entry is one step of one event.
type Entry struct {
	Seq      uint64        `json:"seq"`
	Time     time.Time     `json:"time"`
	Step     Step          `json:"step"`
	Event    wire.ID       `json:"event"`
	Type     string        `json:"type"`
	Subject  string        `json:"subject,omitempty"`
	Route    string        `json:"route,omitempty"`
	Instance string        `json:"instance,omitempty"` // the target's address; with Emitted the source's, with Refused who tried
	Attempt  uint32        `json:"attempt,omitempty"`
	Elapsed  time.Duration `json:"elapsed_ns,omitempty"` // since the event was emitted
	Err      *wire.Error   `json:"error,omitempty"`

	Correlation wire.ID `json:"correlation,omitzero"` // with Emitted: the first event of the story
	Causation   wire.ID `json:"causation,omitzero"`   // with Emitted: the event that led to this one
	Detail      string  `json:"detail,omitempty"`     // with NotMatched: which clause of when was false
}

// Package apply takes the daemon from one generation to the next as a
// transaction: load, plan, reserve, verify, prepare, commit, drain. Before the
// commit any failure undoes everything; after it, everything rolls forward.
package apply

import (
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/plan"
)

// Phase is a part of the transaction.
type Phase string

// Phases, in order.
const (
	Load    Phase = "load"
	Plan    Phase = "plan"
	Reserve Phase = "reserve"
	Verify  Phase = "verify"
	Prepare Phase = "prepare"
	Commit  Phase = "commit"
	Drain   Phase = "drain"
)

// Progress is one line of what a reload is doing.
type Progress struct {
	Time    time.Time `json:"time"`
	Phase   Phase     `json:"phase"`
	Address string    `json:"address,omitempty"` // instance
	Message string    `json:"message"`
	Percent uint32    `json:"percent,omitempty"`
	Done    bool      `json:"done,omitempty"` // this phase, or this instance in it, is done
}

// Outcome is how a reload ended.
type Outcome string

// Outcomes.
const (
	Committed  Outcome = "committed"
	Unchanged  Outcome = "unchanged"
	Invalid    Outcome = "invalid"     // the configuration has errors; nothing was touched
	RolledBack Outcome = "rolled_back" // something failed before the commit; all was undone
	Superseded Outcome = "superseded"  // a newer reload took its place
)

// Result is the end of a reload or a plan.
type Result struct {
	Outcome     Outcome            `json:"outcome"`
	Generation  uint64             `json:"generation"` // now serving
	Plan        *plan.Plan         `json:"plan,omitempty"`
	Diagnostics config.Diagnostics `json:"diagnostics"`
	Elapsed     time.Duration      `json:"elapsed_ns"`
	Message     string             `json:"message,omitempty"` // why, when rolled back
}

// Package apply takes the daemon from one generation to the next as a
// transaction: load, plan, reserve, verify, prepare, commit, drain. Before the
// generation's record is on disk any failure, crash or newer reload undoes
// everything; after it, everything rolls forward. Boot, reload, return to an
// earlier generation and shutdown are this one machine; each transition is
// logged, told to the routes as an event, and shown by the status.
package apply

import (
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/generation"
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
	Undo    Phase = "undo" // in place of what would follow
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
	Changes    Outcome = "changes"     // of a plan: a reload would change something
	Stopped    Outcome = "stopped"     // of the end of the daemon
)

// Result is the end of a reload or a plan.
type Result struct {
	Outcome     Outcome             `json:"outcome"`
	Generation  uint64              `json:"generation"` // now serving
	Plan        *plan.Plan          `json:"plan,omitempty"`
	Diagnostics config.Diagnostics  `json:"diagnostics"`
	Elapsed     time.Duration       `json:"elapsed_ns"`
	Message     string              `json:"message,omitempty"` // why, when rolled back
	Confirm     *generation.Confirm `json:"confirm,omitempty"` // the generation is on probation
	Held        *Held               `json:"held,omitempty"`    // by a plan that holds what it reserved
	Drained     bool                `json:"drained,omitempty"` // it was waited for, and the old instances have ended
}

// Held names a plan whose leases the daemon holds.
type Held struct {
	ID      string    `json:"id"`      // names it to the daemon
	Base    uint64    `json:"base"`    // generation that it starts from
	Config  string    `json:"config"`  // fingerprint of the configuration that it leads to
	Expires time.Time `json:"expires"` // then the leases are released
}

// Request says what to apply.
type Request struct {
	Who     generation.Who
	Return  bool          // to an earlier generation
	To      uint64        // that generation; 0 for the one before
	Plan    *Held         // apply this plan and no other
	Confirm time.Duration // return by itself unless confirmed within; 0: no need
	Wait    bool          // until the old instances have ended
}

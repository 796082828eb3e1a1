package observe

import (
	"time"

	"github.com/pluginhost/host/sdk/wire"
)

// Light is a traffic light.
type Light string

// Lights, best first.
const (
	Green  Light = "green"
	Yellow Light = "yellow"
	Red    Light = "red"
)

// Worse returns the worse of two lights.
func (l Light) Worse(m Light) Light {
	rank := map[Light]int{Green: 0, Yellow: 1, Red: 2}
	if rank[m] > rank[l] {
		return m
	}
	return l
}

// Status is what host status shows.
type Status struct {
	Light      Light       `json:"light"`
	Reason     string      `json:"reason,omitempty"`
	Generation uint64      `json:"generation"`
	Version    string      `json:"version"`
	Node       string      `json:"node"`
	Pid        int         `json:"pid"`
	Started    time.Time   `json:"started"`
	ConfigDir  string      `json:"config_dir"`
	Aside      string      `json:"aside,omitempty"` // why what serves is not what is on disk, after a return
	Instances  []Instance  `json:"instances"`
	Subsystems []Subsystem `json:"subsystems"`
	Routes     []Route     `json:"routes"`
	Events     Counts      `json:"events"`
	Reasons    []Reason    `json:"reasons"` // why events were rejected
	Dead       int         `json:"dead"`    // dead deliveries that are kept
	Draining   []Draining  `json:"draining"`
	LastReload *Reload     `json:"last_reload,omitempty"`
	Reloading  *Reloading  `json:"reloading,omitempty"` // that runs now
	Confirm    *Confirm    `json:"confirm,omitempty"`   // that the generation waits for
}

// Instance is the state of one configured plugin.
type Instance struct {
	Address    string   `json:"address"`
	Plugin     string   `json:"plugin"`
	Version    string   `json:"version"`
	Digest     string   `json:"digest"`
	State      string   `json:"state"` // preparing, ready, restarting, failed, draining
	Light      Light    `json:"light"`
	Reason     string   `json:"reason"` // why it is not green
	Pid        int      `json:"pid"`
	Restarts   int      `json:"restarts"`
	Generation uint64   `json:"generation"` // that started it
	Credit     int      `json:"credit"`
	InFlight   int      `json:"in_flight"`
	Stderr     []string `json:"stderr,omitempty"` // the last lines, when it failed
	Listeners  []string `json:"listeners,omitempty"`
	Waits      string   `json:"waits,omitempty"`   // why its Emit blocks
	Refused    uint64   `json:"refused,omitempty"` // attempts to act as somebody else
}

// Subsystem is the state of a part of the daemon.
type Subsystem struct {
	Name   string `json:"name"`
	Light  Light  `json:"light"`
	Reason string `json:"reason,omitempty"`
}

// Route is the state of one route.
type Route struct {
	Name     string   `json:"name"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	Queued   int      `json:"queued"`
	InFlight int      `json:"in_flight"`
	Detached int      `json:"detached"`        // wait for whoever has their token
	Waits    string   `json:"waits,omitempty"` // for what, when something is queued and not handed out
	Reasons  []Reason `json:"reasons,omitempty"`
	Counts
}

// Counts is a ledger of deliveries or, for the whole daemon, of events. At any
// moment Accepted = Resolved + Rejected + Pending + Dead + Dropped.
type Counts struct {
	Accepted uint64 `json:"accepted"`
	Resolved uint64 `json:"resolved"`
	Rejected uint64 `json:"rejected"`
	Pending  uint64 `json:"pending"`
	Dead     uint64 `json:"dead"`
	Dropped  uint64 `json:"dropped"`
	Attempts uint64 `json:"attempts"` // of a route: how often a delivery was handed to an instance
	Retries  uint64 `json:"retries"`
	Late     uint64 `json:"late"`     // settles that came too late, or twice
	Replayed uint64 `json:"replayed"` // dead deliveries that were given to the route again; each counts as accepted anew
}

// Reason says how many of a ledger ended without success for one reason: the
// word that their errors have for machines, or their code.
type Reason struct {
	Ending string `json:"ending"` // rejected, dead or dropped
	Reason string `json:"reason"` // queue_full, deadline_exceeded, crashed, …
	Count  uint64 `json:"count"`
}

// Attempt is one failed attempt of a delivery.
type Attempt struct {
	Attempt uint32      `json:"attempt"`
	Time    time.Time   `json:"time"`
	Err     *wire.Error `json:"error"`
}

// Dead is a delivery that failed for good on a route with dead_letter.
type Dead struct {
	Event    wire.ID     `json:"event"`
	Type     string      `json:"type"`
	Subject  string      `json:"subject,omitempty"`
	Route    string      `json:"route"`
	Time     time.Time   `json:"time"` // of its death
	Err      *wire.Error `json:"error"`
	Attempts []Attempt   `json:"attempts"` // the last 16
}

// Replayed says what became of the replay of a dead delivery: it was taken by
// its route again, or Err says why not.
type Replayed struct {
	Event wire.ID     `json:"event"`
	Route string      `json:"route"`
	Err   *wire.Error `json:"error,omitempty"`
}

// Waiting is a delivery that is not finished, and what it waits for.
type Waiting struct {
	Event    wire.ID       `json:"event"`
	Type     string        `json:"type"`
	Subject  string        `json:"subject,omitempty"`
	Route    string        `json:"route"`
	Instance string        `json:"instance"` // the target's address
	State    string        `json:"state"`    // unaccepted, queued, in_flight, detached
	Attempt  uint32        `json:"attempt"`
	Elapsed  time.Duration `json:"elapsed_ns"` // since it was emitted
	Why      string        `json:"why"`
}

// Draining is an old instance that finishes its work.
type Draining struct {
	Address    string    `json:"address"`
	Generation uint64    `json:"generation"`
	Pid        int       `json:"pid"`
	InFlight   int       `json:"in_flight"`
	Until      time.Time `json:"until"`
}

// Reload says how the last reload ended.
type Reload struct {
	Time       time.Time     `json:"time"`
	Outcome    string        `json:"outcome"` // committed, unchanged, invalid, rolled_back, superseded
	Generation uint64        `json:"generation"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	Message    string        `json:"message,omitempty"`
	Command    string        `json:"command,omitempty"` // who asked for it
	User       string        `json:"user,omitempty"`
}

// Reloading is a reload that has not ended.
type Reloading struct {
	Phase   string    `json:"phase"`
	Since   time.Time `json:"since"` // the phase began
	Started time.Time `json:"started"`
	Command string    `json:"command"`
}

// Confirm says until when a generation must be confirmed, and where the daemon
// returns otherwise.
type Confirm struct {
	Until time.Time `json:"until"`
	Back  uint64    `json:"back"`
}

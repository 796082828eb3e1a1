// Package rpc is the control plane: what host asks of a plugin process, over
// the gRPC connection that go-plugin's handshake opens. The SDK serves a
// Control; host dispenses a client of one.
package rpc

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pluginhost/host/sdk/schema"
)

// Control is what host asks of a plugin process. The SDK implements it; host
// holds a client of it that speaks gRPC. Each ctx bounds its call.
type Control interface {
	// Describe returns the manifest, without side effects.
	Describe(ctx context.Context) (*schema.Manifest, error)
	// Verify checks a configuration against the machine, without side
	// effects. progress may be called from one goroutine until Verify returns.
	Verify(ctx context.Context, in Instance, progress func(Progress)) ([]schema.Diagnostic, error)
	// Prepare builds the instance, gated. An error diagnostic refuses it.
	Prepare(ctx context.Context, in Instance) ([]schema.Diagnostic, error)
	// Commit opens the gate of a prepared instance.
	Commit(ctx context.Context, handle uint32) error
	// Abort forgets a prepared instance.
	Abort(ctx context.Context, handle uint32) error
	// Pause stops reading from the datagram sockets of some attributes, which
	// a successor is about to read.
	Pause(ctx context.Context, handle uint32, attributes []string) error
	// Drain finishes what is in flight within timeout and ends the instance.
	// It returns the number of deliveries given up.
	Drain(ctx context.Context, handle uint32, timeout time.Duration) (unfinished int, err error)
}

// Instance is a configured instance as a plugin sees it.
type Instance struct {
	Handle     uint32 // host's number of the instance in the process, from 1
	Address    string // http.orders or exec.bill["eu"]
	Node       string
	Generation uint64
	Config     json.RawMessage // by the manifest's schema, defaults filled in
	Leases     []Lease         // in Prepare only
	Dir        string          // absolute path of the configuration directory
	StateDir   string          // absolute path of a directory of the instance's own
}

// Lease names a descriptor that comes over descriptor 4: one SOCK_SEQPACKET
// message whose bytes are ID and whose SCM_RIGHTS is the descriptor.
type Lease struct {
	ID        string
	Attribute string // the attribute that asked for it, for example listen
}

// Progress is a step of a Verify, for people.
type Progress struct {
	Message string
	Percent uint32 // 0 when unknown
}

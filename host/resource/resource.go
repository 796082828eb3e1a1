// Package resource knows which sockets and files the instances hold. A
// resource is the same when its key is the same; a lease on it passes from one
// generation to the next without being closed. The descriptors themselves are
// the spawner's.
package resource

import (
	"context"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/spawner"
)

// Lease is a held resource.
type Lease struct {
	ID      string // names it to the spawner and the plugin
	Key     string // canonical, for people too: tcp 127.0.0.1:8080
	Address string // what was really bound, with the port chosen for :0
}

// Table holds the leases by key.
type Table struct{}

// NewTable returns an empty table.
func NewTable(sp *spawner.Client) *Table { panic("unfinished") }

// Acquire returns the lease of r for an owner (an instance's address with the
// life it is in, for example http.orders@7), binding or opening it when nobody
// holds its key yet. Two owners may hold one lease while one takes over from
// the other; that two owners of one generation never do is for the caller to
// see to, with Key. The error is a *BusyError, *DeniedError or other that says
// what to do.
func (t *Table) Acquire(ctx context.Context, owner string, r config.Resource) (Lease, error) {
	panic("unfinished")
}

// Release gives up all leases of an owner; those that nobody else holds are
// closed. It is safe to call twice.
func (t *Table) Release(owner string) { panic("unfinished") }

// Key returns the canonical key of a resource for an instance address, or an
// error that says what is wrong with the value.
func Key(address string, r config.Resource) (string, error) { panic("unfinished") }

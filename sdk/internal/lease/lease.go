// Package lease keeps the descriptors that host has passed until an instance
// takes them.
package lease

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/pluginhost/host/sdk/wire/descriptor"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// maxWaiting bounds what waits of one lease: what was sent for instances that
// were given up before they took it.
const maxWaiting = 256

// Store is what has arrived and was not taken. Instances may share a lease, a
// directory for example: each is sent a descriptor of its own, under one id.
type Store struct {
	mu      sync.Mutex
	files   map[string][]*os.File // by the lease's id; alike
	arrived chan struct{}         // closed and replaced when one arrives
	noMore  error                 // why none will arrive
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{files: map[string][]*os.File{}, arrived: make(chan struct{})}
}

// Take waits for the descriptors of leases; the result is by attribute. With an
// error it has closed those that it had.
func (s *Store) Take(ctx context.Context, want []rpc.Lease) (map[string]*os.File, error) {
	got := map[string]*os.File{}
	for _, l := range want {
		for {
			s.mu.Lock()
			f, noMore, arrived := s.pop(l.ID), s.noMore, s.arrived
			s.mu.Unlock()
			if f != nil {
				got[l.Attribute] = f
				break
			}
			err := noMore
			if err == nil {
				select {
				case <-arrived:
					continue
				case <-ctx.Done():
					err = ctx.Err()
				}
			}
			for _, f := range got {
				_ = f.Close()
			}
			return nil, fmt.Errorf("the descriptor for %s did not come: %w", l.Attribute, err)
		}
	}
	return got, nil
}

// pop returns a descriptor of a lease, or nil.
func (s *Store) pop(id string) *os.File {
	waiting := s.files[id]
	if len(waiting) == 0 {
		return nil
	}
	if f := waiting[0]; len(waiting) > 1 {
		s.files[id] = waiting[1:]
		return f
	}
	delete(s.files, id)
	return waiting[0]
}

// Receive takes descriptors from host until the connection ends.
func (s *Store) Receive(conn *net.UnixConn) {
	for {
		id, f, err := descriptor.Receive(conn)
		s.mu.Lock()
		if f != nil {
			if len(s.files[id]) == maxWaiting {
				_ = s.pop(id).Close()
			}
			s.files[id] = append(s.files[id], f)
		}
		end := errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)
		if end {
			s.noMore = err
		}
		close(s.arrived)
		s.arrived = make(chan struct{})
		s.mu.Unlock()
		if end {
			return
		}
	}
}

// Drop closes what nobody took.
func (s *Store) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, waiting := range s.files {
		for _, f := range waiting {
			_ = f.Close()
		}
		delete(s.files, id)
	}
}

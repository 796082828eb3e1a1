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

// Store is what has arrived and was not taken.
type Store struct {
	mu      sync.Mutex
	files   map[string]*os.File // by the lease's id
	arrived chan struct{}       // closed and replaced when one arrives
	noMore  error               // why none will arrive
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{files: map[string]*os.File{}, arrived: make(chan struct{})}
}

// Take waits for the descriptors of leases; the result is by attribute. With an
// error it has closed those that it had.
func (s *Store) Take(ctx context.Context, want []rpc.Lease) (map[string]*os.File, error) {
	got := map[string]*os.File{}
	for _, l := range want {
		for {
			s.mu.Lock()
			f, noMore, arrived := s.files[l.ID], s.noMore, s.arrived
			delete(s.files, l.ID)
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

// Receive takes descriptors from host until the connection ends.
func (s *Store) Receive(conn *net.UnixConn) {
	for {
		id, f, err := descriptor.Receive(conn)
		s.mu.Lock()
		if f != nil {
			if old := s.files[id]; old != nil {
				_ = old.Close()
			}
			s.files[id] = f
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
	for id, f := range s.files {
		_ = f.Close()
		delete(s.files, id)
	}
}

package instance

import (
	"sync"
	"time"

	"github.com/pluginhost/host/host/instance/internal/trouble"
	"github.com/pluginhost/host/host/launch"
)

// fresh is for how long what was seen of a process stands.
const fresh = time.Second

// sight is what a status says of a process. Reading it asks the kernel for a
// dozen files, and thousands of instances may be in one process, each of which
// is asked for its status: they share what was seen a moment ago.
type sight struct {
	limits []string // that it is at
	wrote  []string // of what it was refused
	yields bool
}

type seen struct {
	mu sync.Mutex
	at time.Time
	sight
}

func (s *seen) look(p *launch.Process) sight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) >= fresh {
		s.sight = sight{limits: p.Notes(), wrote: trouble.Refused(p.Stderr()), yields: p.Yields()}
		s.at = time.Now()
	}
	return s.sight
}

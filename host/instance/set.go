package instance

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/launch"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route"
	"github.com/pluginhost/host/sdk/wire"
)

// lent is how many bytes of what lanes have read events may hold where they were
// read, so that they are not copied. Events that stay long hold more than they
// are: beyond this all are copied.
const lent = 64 << 20

// Options configure a Set.
type Options struct {
	Launcher *launch.Launcher
	Router   *route.Router
	Open     func(digest string) (*os.File, error) // the verified executable
	Node     string
	Dir      string // the configuration directory
	StateDir string
	Stdout   io.Writer // gets what plugins print, in whole lines
	Log      hclog.Logger
	Audit    *observe.Audit // nil: nobody is told of attempts to act as somebody else
}

// Set owns the plugin processes and makes instances in them.
type Set struct {
	o    Options
	life context.Context // of the processes
	end  context.CancelFunc
	pool *wire.Pool     // of what lanes read
	wait sync.WaitGroup // one per worker

	mu      sync.Mutex
	workers map[string]*worker // by key: those that new instances join
}

// NewSet returns a set without processes.
func NewSet(o Options) *Set {
	s := &Set{o: o, workers: map[string]*worker{}, pool: wire.NewPool(lent)}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Run waits until ctx ends, then ends every process and returns when all have
// ended. Drain the instances first.
func (s *Set) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.end()
	s.mu.Unlock()
	s.wait.Wait()
	return nil
}

// New makes an instance that nobody has asked for anything yet. start bounds
// the start of a process for it.
func (s *Set) New(c config.Instance, generation uint64, start time.Duration) *Instance {
	i := &Instance{set: s, config: c, generation: generation, restart: c.Process.Restart, state: Preparing}
	key := processKey(c, generation)
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workers[key]
	if w == nil || w.shaky() {
		w = newWorker(s, key, c, start)
		s.workers[key] = w
		s.wait.Go(w.run)
	}
	w.join(i)
	i.worker = w
	return i
}

// processKey says which instances share a process: those of one executable
// with equal process settings.
func processKey(c config.Instance, generation uint64) string {
	p := c.Process
	p.Restart = config.Restart{}
	b, _ := json.Marshal([]any{p, sandbox(c)}) // plain structs cannot fail
	key := fmt.Sprintf("%s %x", c.Digest, sha256.Sum256(b))
	if p.Isolation == "instance" {
		key += fmt.Sprintf(" %s@%d", c.Address, generation)
	}
	return key
}

// release takes an instance from its worker and, when it was the last, ends
// the process and waits for that.
func (s *Set) release(w *worker, i *Instance) {
	s.mu.Lock()
	last := w.part(i)
	if last {
		s.forget(w)
	}
	s.mu.Unlock()
	if last {
		w.stop()
		<-w.done
	}
}

// forget makes sure that no new instance joins w. s.mu is held.
func (s *Set) forget(w *worker) {
	if s.workers[w.key] == w {
		delete(s.workers, w.key)
	}
}

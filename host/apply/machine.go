package apply

import (
	"context"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/instance"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/resource"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// The machine on which a transaction works. Each part has two implementations:
// the daemon's, and one that tests break on purpose.

// Instances makes instances that nobody has asked for anything yet.
type Instances interface {
	New(c config.Instance, generation uint64, start time.Duration) Instance
}

// Instance is one life of a configured plugin; *instance.Instance says what the
// methods promise.
type Instance interface {
	Address() string
	Digest() string
	Owner() string
	State() instance.State
	Update(r config.Restart)
	Verify(ctx context.Context, progress func(rpc.Progress)) ([]schema.Diagnostic, error)
	Prepare(ctx context.Context, leases []rpc.Lease, listeners []string) ([]schema.Diagnostic, error)
	Commit(ctx context.Context)
	Abort(ctx context.Context)
	Pause(ctx context.Context, leases []string)
	Drain(ctx context.Context, timeout time.Duration)
	Status() observe.Instance
}

// Leases holds sockets and files; *resource.Table is one.
type Leases interface {
	Acquire(ctx context.Context, owner string, r resource.Want) (resource.Lease, error)
	Set(ctx context.Context, owner string, r resource.Want) error
	Passed(owner string) []string
	Retire(ctx context.Context, owner string, quiet time.Duration)
	Release(owner string)
}

// Router carries events; *route.Router is one.
type Router interface {
	Swap(routes []config.Route)
	EmitHost(name string, data any)
	Forget(address string, why *wire.Error)
	Queued(address string) int
}

// Plugins makes instances in plugin processes.
func Plugins(s *instance.Set) Instances { return plugins{s} }

type plugins struct{ set *instance.Set }

func (p plugins) New(c config.Instance, generation uint64, start time.Duration) Instance {
	return p.set.New(c, generation, start)
}

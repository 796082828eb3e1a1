package instance

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/pluginhost/host/host/instance/internal/trouble"
	"github.com/pluginhost/host/host/launch"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route"
	"github.com/pluginhost/host/sdk/wire"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// life is one run of a worker's process, from handshake to reaping.
type life struct {
	process *launch.Process
	control rpc.Control
	lane    *wire.Lane

	seats seats // by handle
	seen  seen

	mu     sync.Mutex
	last   uint32 // handle given out
	killed string // why host ended it, or empty

	plugin string // names the process where no instance can be named
	audit  *observe.Audit
}

func newLife(p *launch.Process, plugin string, pool *wire.Pool, audit *observe.Audit) *life {
	l := &life{process: p, plugin: plugin, audit: audit, control: p.Control(), lane: wire.NewLane(p.Lane())}
	l.lane.Hold() // the router says when
	l.lane.ReadInto(pool)
	return l
}

// seat is the place of one instance in one life of its process.
type seat struct {
	life    *life
	handle  uint32
	source  *route.Source
	node    string
	version string                      // of the plugin
	inbox   atomic.Pointer[route.Inbox] // nil before the commit
	router  *route.Router

	troubles *trouble.Log // the instance's
}

// seat makes room for an instance.
func (l *life) seat(i *Instance) *seat {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	m := i.config.Manifest
	events := make([]string, len(m.Events))
	for n, e := range m.Events {
		events[n] = e.Name
	}
	s := &seat{life: l, handle: l.last, router: i.set.o.Router, troubles: &i.troubles, node: i.set.o.Node, version: m.Version,
		source: &route.Source{Address: i.Address(), Events: events, Replier: l.lane}}
	l.seats.take(s)
	return s
}

// leave gives the room up.
func (l *life) leave(s *seat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seats.leave(s)
}

// attach connects the seat to the router.
func (s *seat) attach(i *Instance) {
	m := i.config.Manifest
	actions := make([]string, len(m.Actions))
	for n, a := range m.Actions {
		actions[n] = a.Name
	}
	s.inbox.Store(s.router.Attach(route.Attachment{
		Address: i.Address(), Version: m.Version, Generation: i.generation,
		Handle: s.handle, Actions: actions, Outlet: outlet{s},
	}))
}

// close gives up what the seat has in flight.
func (s *seat) close(reason *wire.Error) {
	if inbox := s.inbox.Load(); inbox != nil {
		inbox.Close(reason)
	}
}

// Deliveries are numbered by each inbox, but a lane has many: the upper bits of
// the number on the lane are the handle.
const (
	deliveryBits = 40
	deliveryMask = 1<<deliveryBits - 1
)

// outlet sends what the router has for a seat.
type outlet struct{ *seat }

func (o outlet) Deliver(d *wire.Deliver) error {
	number := d.Delivery
	d.Instance = o.handle
	d.Delivery = uint64(o.handle)<<deliveryBits | number&deliveryMask
	err := o.life.lane.Deliver(d)
	d.Delivery = number
	return err
}

func (o outlet) Cancel(delivery uint64, attempt uint32, why wire.Cause) error {
	return o.life.lane.Cancel(uint64(o.handle)<<deliveryBits|delivery&deliveryMask, attempt, why)
}

// Flush implements route.Flusher.
func (o outlet) Flush() { o.life.lane.Flush() }

// serve carries events until the process ends, and returns why it ended. When
// ctx ends it stops the process.
func (l *life) serve(ctx context.Context, r *route.Router) {
	laneCtx, cancel := context.WithCancel(context.Background())
	var broken error // valid after ended
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		broken = l.lane.Run(laneCtx, l.handler(r))
	}()
	select {
	case <-l.process.Done():
	case <-ctx.Done():
		l.stop()
	case <-ended:
		if broken != nil {
			l.kill("it broke the contract of the lane: " + broken.Error())
		} else { // it closed the lane: it is about to end, or cannot be used
			l.stop()
		}
	}
	<-l.process.Done()
	cancel()
	<-ended
}

// stop ends the process: closing the lane asks it to, Stop insists.
func (l *life) stop() {
	_ = l.lane.Close()
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	l.process.Stop(ctx)
}

// kill ends the process without asking.
func (l *life) kill(why string) {
	l.mu.Lock()
	if l.killed == "" {
		l.killed = why
	}
	l.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l.process.Stop(ctx)
}

// gone reports whether the process has ended.
func (l *life) gone() bool {
	select {
	case <-l.process.Done():
		return true
	default:
		return false
	}
}

// reason says why the process ended; valid after its end.
func (l *life) reason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.killed != "" {
		return l.killed
	}
	return l.process.Exit().Reason
}

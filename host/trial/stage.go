package trial

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/route"
	"github.com/pluginhost/host/sdk/wire"
)

// credit is how much a simulated instance takes at once.
const credit = 64

// stage holds the simulated instances of a test.
type stage struct {
	router *route.Router
	test   *config.Test
	actors map[string]*actor // by route
	wait   sync.WaitGroup
}

func newStage(r *route.Router, t *config.Test) *stage {
	return &stage{router: r, test: t, actors: map[string]*actor{}}
}

// lead makes a route lead to an instance of its own, and its dead letters too,
// without pauses.
func (s *stage) lead(r config.Route) config.Route {
	r.To.Instance = s.actor(r.Name, r.To, s.test.Replies[r.Name])
	r.Delivery.Backoff, r.Delivery.MaxBackoff = 0, 0
	if to := r.Delivery.DeadLetter; to != nil {
		letters := *to
		letters.Instance = s.actor(r.Name+"\x00letters", *to, config.Reply{})
		r.Delivery.DeadLetter = &letters
	}
	return r
}

// actor starts a simulated instance and returns its address.
func (s *stage) actor(name string, to config.Endpoint, reply config.Reply) string {
	a := &actor{reply: reply, todo: make(chan wire.Deliver, credit)}
	address := to.Instance + "\x00" + name
	a.inbox = s.router.Attach(route.Attachment{Address: address, Actions: []string{to.Name}, Outlet: a})
	s.actors[name] = a
	s.wait.Go(a.run)
	a.inbox.Credit(credit)
	return address
}

// tell says what each got. The router is idle.
func (s *stage) tell(o *outcome) {
	for name, a := range s.actors {
		a.mu.Lock()
		if a.attempts > 0 && !strings.Contains(name, "\x00") {
			o.inputs[name], o.attempts[name] = a.input, a.attempts
		}
		a.mu.Unlock()
	}
	if o.err != nil { // where it arose has the name that the configuration has
		e := *o.err
		e.Instance, _, _ = strings.Cut(e.Instance, "\x00")
		o.err = &e
	}
}

// close ends the instances.
func (s *stage) close() {
	for _, a := range s.actors {
		a.inbox.Close(nil)
		close(a.todo) // nothing is delivered any more
	}
	s.wait.Wait()
}

// actor is a simulated instance.
type actor struct {
	inbox *route.Inbox
	reply config.Reply
	todo  chan wire.Deliver // at most the credit

	mu       sync.Mutex
	input    json.RawMessage // of the first attempt
	attempts int
}

// Deliver implements route.Outlet.
func (a *actor) Deliver(d *wire.Deliver) error {
	input := d.Event.Data
	if d.HasInput {
		input = d.Input
	}
	a.mu.Lock()
	if a.attempts++; a.attempts == 1 {
		a.input = slices.Clone(input)
	}
	a.mu.Unlock()
	a.todo <- *d // there is room: it takes credit
	return nil
}

// Cancel implements route.Outlet.
func (a *actor) Cancel(uint64, uint32, wire.Cause) error { return nil }

// Flush implements route.Outlet.
func (a *actor) Flush() {}

// run answers, from a goroutine of its own: an outlet must not call the router.
func (a *actor) run() {
	for d := range a.todo {
		s := wire.Settle{Ref: d.Delivery, Attempt: d.Attempt, Value: a.reply.Value}
		if a.reply.Error != nil && (a.reply.Times == 0 || int(d.Attempt) <= a.reply.Times) {
			e := *a.reply.Error
			s.Value, s.Err = nil, &e
		}
		_ = a.inbox.Settle(&s) // an answer that nobody waits for any more is none
		a.inbox.Credit(1)
	}
}

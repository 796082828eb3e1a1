package route

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// hostAddress is the source of the host's own events.
const hostAddress = "host"

// Replier takes what the router tells the emitter of an event. The calls must
// not block and must not call the router; errors are ignored. What s points to
// is valid during the call, but for Err, which may be kept and not be changed.
type Replier interface {
	Accept(promise uint64) error
	Settle(s *wire.Settle) error
}

// Source is an emitter of events. Identity is the source's, never the message's.
// It belongs to one router and is not changed after its first Emit.
type Source struct {
	Address string   // instance address, or "host"
	Events  []string // event names by index
	Replier Replier  // nil: nobody waits

	view   atomic.Pointer[view]
	parked int // events that wait unaccepted; guarded by Router.mu
}

// view is what a source sees of one table: all that Emit needs, by index.
type view struct {
	table  *table
	source string // node/instance
	events []outlook
}

// outlook is one event of a source.
type outlook struct {
	name    string // http.orders.request
	entries []entry
}

// look returns the source's view of the table in force.
func (r *Router) look(s *Source) *view {
	t := r.table.Load()
	if v := s.view.Load(); v != nil && v.table == t {
		return v
	}
	v := &view{table: t, source: s.Address, events: make([]outlook, len(s.Events))}
	if r.node != "" {
		v.source = r.node + "/" + s.Address
	}
	for n, name := range s.Events {
		v.events[n] = outlook{name: s.Address + "." + name, entries: t.entries[key{s.Address, name}]}
	}
	s.view.Store(v)
	return v
}

// Emit takes an event: it sets type, source and missing fields, matches it and
// queues it. e and its bytes are copied. It never blocks: while a route with
// overflow = block is full the event waits unaccepted, at most wire.EmitWindow
// of one source; more are rejected as ResourceExhausted. The outcome goes to
// the Replier: an Accept and a Settle, or a Settle alone.
func (r *Router) Emit(s *Source, e *wire.Emit) {
	now := r.now()
	if int64(e.Type) >= int64(len(s.Events)) {
		r.refuse(s, e.Promise, &wire.Error{Code: wire.InvalidArgument,
			Message: fmt.Sprintf("%s emitted event number %d, its manifest has %d events", s.Address, e.Type, len(s.Events))})
		return
	}
	if len(e.Event.Data) > wire.MaxEvent {
		r.refuse(s, e.Promise, &wire.Error{Code: wire.InvalidArgument,
			Message: fmt.Sprintf("the data of %s.%s has %d bytes, the limit is %d; pass a reference to it instead",
				s.Address, s.Events[e.Type], len(e.Event.Data), wire.MaxEvent)})
		return
	}
	r.emit(r.newEvent(s, e.Promise, &e.Event, now), int(e.Type), now)
}

// refuse answers something that is not an event; no ledger knows of it.
func (r *Router) refuse(s *Source, promise uint64, err *wire.Error) {
	r.mu.Lock()
	r.reply(s, promise, nil, err)
	r.mu.Unlock()
}

// emit matches an event and hands it to its routes, again when the table was
// swapped in between.
func (r *Router) emit(ev *event, index int, now instant) {
	for told := false; ; told = true {
		v := r.look(ev.src)
		out := &v.events[index]
		ev.Type, ev.Source = out.name, v.source
		if !told {
			r.record(observe.Emitted, ev, nil, nil, now)
		}
		r.match(ev, out.entries, now)
		r.mu.Lock()
		if r.table.Load() != v.table {
			r.mu.Unlock()
			continue
		}
		r.place(ev, now)
		r.dispatch(now)
		for n := range ev.deliveries {
			d := &ev.deliveries[n]
			if d.state == parked || d.state.waits() {
				r.record(observe.Queued, ev, d, nil, now)
				r.arm(d, ev.deadline)
			}
		}
		r.release(ev)
		r.unlock(now)
		return
	}
}

// match makes a delivery for each route whose when holds. It runs without the
// lock, since expressions are slow.
func (r *Router) match(ev *event, entries []entry, now instant) {
	ev.awaiting = 0
	ev.deliveries = ev.one[:0]
	if len(entries) > 1 {
		ev.deliveries = make([]delivery, 0, len(entries))
	}
	for n := range entries {
		x := &entries[n]
		if x.when != nil {
			if ok, err := x.when.Bool(&ev.Event); !ok || err != nil {
				r.unmatched(ev, x.route, err, now)
				continue
			}
		}
		ev.deliveries = append(ev.deliveries, delivery{ev: ev, route: x.route, await: x.route.policy.Await})
		d := &ev.deliveries[len(ev.deliveries)-1]
		d.line.d, d.age.d = d, d
		if d.await {
			d.first = ev.awaiting == 0
			ev.awaiting++
		}
		if x.input != nil {
			input, err := x.input.JSON(&ev.Event)
			d.input, d.hasInput = input, true
			switch {
			case err != nil:
				d.fault = &wire.Error{Code: wire.InvalidArgument, Message: "input of route " + x.route.name + ": " + err.Error()}
			case len(input) > wire.MaxEvent:
				d.fault = &wire.Error{Code: wire.InvalidArgument,
					Message: fmt.Sprintf("input of route %s has %d bytes, the limit is %d", x.route.name, len(input), wire.MaxEvent)}
			}
		}
	}
}

// unmatched records why a route did not take an event.
func (r *Router) unmatched(ev *event, rt *route, err error, now instant) {
	var why *wire.Error
	if err != nil {
		why = &wire.Error{Code: wire.InvalidArgument, Message: "when: " + err.Error()}
	}
	d := delivery{route: rt}
	r.record(observe.NotMatched, ev, &d, why, now)
}

// place gives a matched event to its routes, or turns it away.
func (r *Router) place(ev *event, now instant) {
	switch {
	case r.closed:
		r.settleEvent(ev, nil, &wire.Error{Code: wire.Unavailable, Reason: wire.ReasonDraining, Retryable: true,
			Message: "host is shutting down"}, now)
		ev.deliveries = nil
		return
	case len(ev.deliveries) == 0:
		if ev.src.Replier == nil && ev.src.Address == hostAddress {
			return // what host says of itself is often of no interest
		}
		r.settleEvent(ev, nil, &wire.Error{Code: wire.NotFound, Reason: wire.ReasonUnrouted,
			Message: "no route takes " + ev.Type + "; host events tail shows which were asked"}, now)
		return
	case ev.deadline != 0 && ev.deadline <= now.mono:
		r.settleEvent(ev, nil, &wire.Error{Code: wire.DeadlineExceeded,
			Message: "the deadline of " + ev.Type + " had passed when it was emitted"}, now)
		ev.deliveries = nil
		return
	}
	for n := range ev.deliveries {
		if d := &ev.deliveries[n]; d.fault == nil && d.route.blocks() && !d.route.room() {
			ev.waited = true
		}
	}
	if ev.waited && ev.src.parked >= wire.EmitWindow {
		ev.waited = false
		ev.deliveries = nil
		r.settleEvent(ev, nil, &wire.Error{Code: wire.ResourceExhausted, Reason: wire.ReasonQueueFull, Retryable: true,
			Message: fmt.Sprintf("%d events of %s wait for room already; wait for Accepted before emitting more", wire.EmitWindow, ev.src.Address)}, now)
		return
	}
	if ev.waited {
		ev.src.parked++
	}
	r.open += len(ev.deliveries)
	ev.open += len(ev.deliveries)
	for n := range ev.deliveries {
		if d := &ev.deliveries[n]; d.fault == nil && d.route.blocks() && !d.route.room() {
			d.state = parked
			ev.parked++
			d.route.parked.pushBack(&d.line)
		}
	}
	var refusal *wire.Error
	for n := range ev.deliveries {
		if d := &ev.deliveries[n]; d.state != parked {
			r.offer(d, now)
			if d.fault != nil && refusal == nil {
				refusal = d.fault
			}
		}
	}
	if ev.open == 1 { // nobody took it, awaited or not
		r.settleEvent(ev, nil, refusal, now)
	}
	if ev.parked == 0 {
		r.accept(ev, now)
	}
}

// EmitHost emits an event of the host itself, for example ready, and forgets
// it. data becomes JSON. Nothing happens when no route wants it.
func (r *Router) EmitHost(name string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		r.log.Error("cannot emit an event of the host", "event", name, "error", err)
		return
	}
	now := r.now()
	r.mu.Lock()
	s := r.hosts[name]
	if s == nil {
		s = &Source{Address: hostAddress, Events: []string{name}}
		r.hosts[name] = s
	}
	r.mu.Unlock()
	r.emit(r.newEvent(s, 0, &wire.Event{Data: b}, now), 0, now)
}

func (i instant) since(mono int64) time.Duration { return time.Duration(i.mono - mono) }

package route

import (
	"encoding/json"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/match"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

const hostAddress = "host" // of the host's own events

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

	cache  match.Cache[route]
	parked int // events that wait unaccepted; guarded by Router.mu
}

// Emit takes an event: it sets type, source and missing fields, matches it and
// queues it. e and its bytes are copied. It never blocks: while a route with
// overflow = block is full the event waits unaccepted, at most wire.EmitWindow
// of one source; more are rejected as ResourceExhausted. The outcome goes to
// the Replier: an Accept and a Settle, or a Settle alone.
func (r *Router) Emit(s *Source, e *wire.Emit) {
	now := r.clock.Now()
	if int64(e.Type) >= int64(len(s.Events)) { // not an event: no ledger knows of it
		r.mu.Lock()
		r.reply(s, e.Promise, nil, reason.NoSuchEvent(s.Address, e.Type, len(s.Events)))
		r.mu.Unlock()
		return
	}
	r.emit(r.newEvent(s, e.Promise, &e.Event, now), int(e.Type), now)
}

// emit matches an event and hands it to its routes, again when the table was
// swapped in between.
func (r *Router) emit(ev *event, index int, now clock.Instant) {
	for told := false; ; told = true {
		v := r.table.Load().Look(&ev.src.cache, r.node, ev.src.Address, ev.src.Events)
		out := &v.Events[index]
		ev.Type, ev.Source = out.Type, v.Source
		if !told {
			r.record(observe.Emitted, ev, nil, nil, now)
		}
		if ev.oversize == 0 {
			r.match(ev, out.Entries, now)
		}
		r.mu.Lock()
		if r.table.Load() != v.Table {
			r.mu.Unlock()
			continue
		}
		r.place(ev, now)
		r.dispatch(now)
		for n := range ev.deliveries {
			d := &ev.deliveries[n]
			if d.state == parked || d.state == queued {
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
func (r *Router) match(ev *event, entries []match.Entry[route], now clock.Instant) {
	ev.awaiting = 0
	ev.deliveries = ev.one[:0]
	if len(entries) > 1 {
		ev.deliveries = make([]delivery, 0, len(entries))
	}
	for n := range entries {
		x := &entries[n]
		if ok, err := x.Asks(&ev.Event); !ok {
			r.record(observe.NotMatched, ev, &delivery{route: x.Route}, err, now)
			continue
		}
		ev.deliveries = append(ev.deliveries, delivery{})
		d := &ev.deliveries[len(ev.deliveries)-1]
		d.begin(ev, x.Route)
		d.input, d.hasInput, d.fault = x.Input(&ev.Event)
		if d.await {
			d.first = ev.awaiting == 0
			ev.awaiting++
		}
	}
}

// refusal returns why an event goes to none of its routes, or nil.
func (r *Router) refusal(ev *event, now clock.Instant) *wire.Error {
	switch {
	case r.closed:
		return reason.Shutdown()
	case ev.oversize > 0:
		return reason.TooLarge(ev.Type, ev.oversize)
	case len(ev.deliveries) == 0:
		return reason.Unrouted(ev.Type)
	case ev.deadline != 0 && ev.deadline <= now.Mono:
		return reason.EmittedLate(ev.Type)
	case ev.parked > 0 && ev.src.parked >= wire.EmitWindow:
		return reason.WindowFull(ev.src.Address)
	}
	return nil
}

// place gives a matched event to its routes, or turns it away.
func (r *Router) place(ev *event, now clock.Instant) {
	if len(ev.deliveries) == 0 && ev.src.Replier == nil && ev.src.Address == hostAddress {
		return // what host says of itself is often of no interest
	}
	for n := range ev.deliveries {
		if d := &ev.deliveries[n]; d.fault == nil && d.route.blocks() && !d.route.room() {
			d.state = parked
			ev.parked++
		}
	}
	if err := r.refusal(ev, now); err != nil {
		ev.deliveries = nil
		r.settleEvent(ev, nil, err, now)
		return
	}
	if ev.parked > 0 {
		ev.waited = true
		ev.src.parked++
	}
	r.open += len(ev.deliveries)
	ev.open += len(ev.deliveries)
	var refusal *wire.Error
	for n := range ev.deliveries {
		d := &ev.deliveries[n]
		if d.state == parked {
			d.route.parked.PushBack(&d.line)
			continue
		}
		r.offer(d, now)
		if refusal == nil {
			refusal = d.fault
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
	now := r.clock.Now()
	s := &Source{Address: hostAddress, Events: []string{name}}
	r.emit(r.newEvent(s, 0, &wire.Event{Data: b}, now), 0, now)
}

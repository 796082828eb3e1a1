package route

import (
	"encoding/json"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/carrier"
	"github.com/pluginhost/host/host/route/internal/clock"
	"github.com/pluginhost/host/host/route/internal/emission"
	"github.com/pluginhost/host/host/route/internal/match"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

const hostAddress = "host" // of the host's own events

// Emit takes an event: it sets type, source and missing fields, matches it and
// queues it. e and its bytes are copied. It never blocks: while a route with
// overflow = block is full the event waits unaccepted, at most wire.EmitWindow
// of one source; more are rejected as ResourceExhausted. The outcome goes to
// the Replier: an Accept and a Settle, or a Settle alone.
func (r *Router) Emit(s *Source, e *wire.Emit) {
	b := Batch{r: r}
	b.Emit(s, e)
	b.Close()
}

// look matches an event against the table in force, which it returns. It runs
// without the lock, since expressions are slow.
func (r *Router) look(ev *event, index int) *match.Table[link] {
	v := r.table.Load().Look(&ev.Src.Cache.Cache, r.node, ev.Src.Address, ev.Src.Events)
	out := &v.Events[index]
	ev.Type, ev.Source = out.Type, v.Source
	if ev.Oversize == 0 {
		r.match(ev, out.Entries)
	}
	return v.Table
}

// take hands an event that was matched by a table to its routes. It is matched
// again when that was swapped in between.
func (r *Router) take(ev *event, index int, table *match.Table[link], now clock.Instant) {
	for r.table.Load() != table {
		r.c.Events.Recorded()
		r.c.Mu.Unlock()
		table = r.look(ev, index)
		r.c.Mu.Lock()
	}
	r.c.Record(observe.Emitted, ev, nil, nil, now)
	for _, p := range ev.Passed {
		r.c.Events.Record(observe.NotMatched, ev, p.At, p.Err, now)
	}
	r.place(ev, now)
	r.c.Dispatch(now)
	for n := range ev.Deliveries {
		d := &ev.Deliveries[n]
		if d.State == carrier.Parked || d.State == carrier.Queued {
			r.c.Record(observe.Queued, ev, d, nil, now)
			r.c.Arm(d, ev.Until)
		}
	}
	if !ev.Settled && ev.Promise != 0 {
		ev.Src.Add(ev)
	}
	r.c.Events.Release(ev)
}

// match makes a delivery for each route whose when holds.
func (r *Router) match(ev *event, entries []match.Entry[link]) {
	clear(ev.Deliveries) // it was matched before
	ev.Awaiting, ev.Deliveries, ev.Passed = 0, ev.One[:0], nil
	if len(entries) > 1 {
		ev.Deliveries = make([]delivery, 0, len(entries))
	}
	for n := range entries {
		x := &entries[n]
		if ok, err := x.Asks(&ev.Event); !ok {
			p := emission.Passed{At: emission.At{Route: x.Route.Name, Instance: x.Route.Target.Address}, Err: err}
			if err == nil && r.c.Events.Records() && r.whys.Take(ev.Born) {
				p.Detail = x.Why(&ev.Event)
			}
			ev.Passed = append(ev.Passed, p)
			continue
		}
		ev.Deliveries = ev.Deliveries[:len(ev.Deliveries)+1] // there is room, and it is empty
		d := &ev.Deliveries[len(ev.Deliveries)-1]
		d.Begin(ev, x.Route.Route)
		d.Input, d.HasInput, d.Fault = x.Input(&ev.Event)
		if d.Await {
			d.First = ev.Awaiting == 0
			ev.Awaiting++
		}
	}
}

// place gives a matched event to its routes, or turns it away.
func (r *Router) place(ev *event, now clock.Instant) {
	if len(ev.Deliveries) == 0 && ev.Src.Replier == nil && ev.Src.Address == hostAddress {
		return // what host says of itself is often of no interest
	}
	for n := range ev.Deliveries {
		if d := &ev.Deliveries[n]; d.Fault == nil && d.Route.Blocks() && !d.Route.Room() {
			d.State = carrier.Parked
			ev.Parked++
		}
	}
	if err := ev.Refusal(r.c.Closed, now); err != nil {
		ev.Deliveries = nil
		r.c.Events.Settle(ev, nil, err, now)
		return
	}
	if ev.Parked > 0 {
		ev.Waited = true
		ev.Src.Parked++
	}
	r.c.Open += len(ev.Deliveries)
	ev.Open += len(ev.Deliveries)
	for n := range ev.Deliveries {
		if d := &ev.Deliveries[n]; d.State == carrier.Parked {
			d.Route.Parked.PushBack(&d.Line)
		}
	}
	var refusal *wire.Error
	for n := range ev.Deliveries {
		d := &ev.Deliveries[n]
		if d.State != carrier.Fresh {
			continue
		}
		if ev.Settled && d.Await { // an earlier one has rejected the promise
			d.Fault = reason.Rejected(ev.Deliveries[0].Route.Name)
		}
		r.c.Offer(d, now)
		if refusal == nil {
			refusal = d.Fault
		}
	}
	if ev.Open == 1 { // nobody took it, awaited or not
		r.c.Events.Settle(ev, nil, refusal, now)
	}
	if ev.Parked == 0 {
		r.c.Events.Accept(ev, now)
	}
}

// EmitHost emits an event of the host itself, for example ready, and forgets
// it. data becomes JSON. Nothing happens when no route wants it.
func (r *Router) EmitHost(name string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		r.c.Log.Error("cannot emit an event of the host", "event", name, "error", err)
		return
	}
	r.Emit(&Source{Address: hostAddress, Events: []string{name}}, &wire.Emit{Event: wire.Event{Data: b}})
}

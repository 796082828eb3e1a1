// Package queue holds what stands between an event and an instance: the queue
// of each route with its policy, the address that it leads to, and the credit
// of whoever is attached there. It says what may be handed out next, and for
// what the rest waits; it hands out nothing. The router's lock guards it all.
//
// D is a delivery, and I an attached instance as the router keeps it.
package queue

import (
	"strings"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/book"
	"github.com/pluginhost/host/host/route/internal/line"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

// Values of config.Delivery.
const (
	overflowReject     = "reject"
	overflowDropOldest = "drop_oldest"
	orderSubject       = "subject"
)

// Route is the queue of one route with its policy. It outlives the table that
// it was made for as long as something waits in it or is in flight.
type Route[D, I any] struct {
	Name    string
	ID      string // equal ones are equal routes
	From    string
	To      config.Endpoint
	Policy  config.Delivery
	Target  *Target[D, I]
	Action  int          // index of To.Name in the attached instance, -1 when it has none
	Retired bool         // not in the table any more
	Letters *Route[D, I] // carries its dead letters, or nil
	Owner   *Route[D, I] // of which this carries the dead letters, or nil

	Waiting  line.Queue[D]
	Parked   line.List[D] // what the queue has no room for
	Flight   line.List[D] // in flight, by the end of their attempts
	InFlight int
	Detached int
	Book     book.Book

	heir   *Route[D, I] // the route in force that has its name, or nil
	active bool         // in the target's ring
	turn   line.Node[Route[D, I]]
}

// NewRoute returns the queue of a route, and of its dead letters. target gives
// what is at an address.
func NewRoute[D, I any](c *config.Route, target func(address string) *Target[D, I]) *Route[D, I] {
	rt := &Route[D, I]{Name: c.Name, ID: ID(c), To: c.To, Policy: c.Delivery, Target: target(c.To.Instance)}
	var from []string
	for _, f := range c.From {
		from = append(from, f.Instance+"."+f.Name)
	}
	rt.From = strings.Join(from, ", ")
	if rt.Policy.Order == orderSubject {
		rt.Waiting.Order()
	}
	if to := c.Delivery.DeadLetter; to != nil {
		l := &Route[D, I]{Name: c.Name + " (dead letters)", From: c.Name, To: *to, Policy: c.Delivery,
			Target: target(to.Instance), Owner: rt}
		p := &l.Policy
		p.DeadLetter, p.Await, p.Order, p.Overflow = nil, false, "", overflowReject
		l.Target.adopt(l)
		rt.Letters = l
	}
	rt.Target.adopt(rt)
	return rt
}

// ID is what makes a route of two generations the same.
func ID(c *config.Route) string { return c.Name + "\x00" + c.Text }

// Family returns a route and the one that carries its dead letters.
func (rt *Route[D, I]) Family() []*Route[D, I] {
	switch {
	case rt.Owner != nil:
		return []*Route[D, I]{rt.Owner, rt}
	case rt.Letters != nil:
		return []*Route[D, I]{rt, rt.Letters}
	}
	return []*Route[D, I]{rt}
}

// Leave makes another route the one in force that has this one's name, or none
// for the one in force itself. What has ended here counts there.
func (rt *Route[D, I]) Leave(heir *Route[D, I]) {
	rt.heir = heir
	rt.bequeath()
}

// bequeath moves what has ended since to the books of whoever has the name now.
func (rt *Route[D, I]) bequeath() {
	to := rt.heir
	if to == nil {
		return
	}
	for to.heir != nil {
		to = to.heir
	}
	rt.Book.Leave(&to.Book)
	if rt.Letters != nil && to.Letters != nil {
		rt.Letters.Book.Leave(&to.Letters.Book)
	}
}

// Limit is how many may wait.
func (rt *Route[D, I]) Limit() int { return max(rt.Policy.Queue, 1) }

// Blocks reports whether emitters wait when the queue is full.
func (rt *Route[D, I]) Blocks() bool {
	return rt.Target.Gone == nil && rt.Policy.Overflow != overflowReject && !rt.DropsOldest()
}

// DropsOldest reports whether the oldest makes room when the queue is full.
func (rt *Route[D, I]) DropsOldest() bool { return rt.Policy.Overflow == overflowDropOldest }

// Room reports whether the queue takes one more, and nobody came earlier.
func (rt *Route[D, I]) Room() bool { return rt.Waiting.Len() < rt.Limit() && rt.Parked.Empty() }

// Busy reports whether there is anything unfinished.
func (rt *Route[D, I]) Busy() bool {
	return rt.Waiting.Len() > 0 || rt.InFlight > 0 || rt.Detached > 0 || !rt.Parked.Empty()
}

// Runnable reports whether something could be handed out to an instance.
func (rt *Route[D, I]) Runnable() bool {
	return rt.Waiting.First() != nil && rt.Action >= 0 && !rt.crowded()
}

func (rt *Route[D, I]) crowded() bool {
	return rt.Policy.Concurrency > 0 && rt.InFlight >= rt.Policy.Concurrency
}

// Hopeless returns why nothing that is queued here can ever be handed out, or
// nil. A live route without an instance, or whose instance does not have the
// action, waits for the one that its generation brings; a retired one does not.
func (rt *Route[D, I]) Hopeless() *wire.Error {
	t := rt.Target
	if t.Gone != nil {
		return t.Gone
	}
	if rt.Retired && t.Desk != nil && rt.Action < 0 {
		return reason.NoAction(t.Address, t.Desk.Version, rt.To.Name)
	}
	return nil
}

// Stuck says for what the next one waits: "waits for credit of exec.bill.eu: 8
// of 8 in flight". It is empty when nothing keeps it.
func (rt *Route[D, I]) Stuck() string {
	t := rt.Target
	switch k := t.Desk; {
	case k == nil && t.Gone != nil:
		return reason.WaitsForNobody(t.Address, t.Gone.Message)
	case k == nil:
		return reason.WaitsForInstance(t.Address)
	case rt.Action < 0:
		return reason.WaitsForAction(t.Address, rt.To.Name)
	case k.Broken:
		return reason.WaitsForProcess(t.Address)
	case rt.crowded():
		return reason.WaitsForConcurrency(rt.Name, rt.InFlight, rt.Policy.Concurrency)
	case !k.Open():
		return reason.WaitsForCredit(t.Address, k.InFlight, k.Capacity)
	case rt.Waiting.Len() > 0 && rt.Waiting.First() == nil:
		return reason.WaitsForTurn(rt.Name, rt.Waiting.Len())
	}
	return ""
}

// Full says why emitters of this route wait, or "" when none does.
func (rt *Route[D, I]) Full() string {
	if rt.Parked.Empty() {
		return ""
	}
	return reason.WaitsForRoom(rt.Name, rt.Waiting.Len(), rt.Limit(), rt.Stuck())
}

// State is what the status shows of the route.
func (rt *Route[D, I]) State() observe.Route {
	s := observe.Route{Name: rt.Name, From: rt.From, To: rt.To.Instance + "." + rt.To.Name,
		Queued: rt.Waiting.Len(), InFlight: rt.InFlight, Detached: rt.Detached,
		Reasons: rt.Book.Reasons(), Counts: rt.Book.Counts}
	if rt.Retired {
		s.Name += " (old)"
	}
	if s.Waits = rt.Full(); s.Waits == "" && s.Queued > 0 {
		s.Waits = rt.Stuck()
	}
	return s
}

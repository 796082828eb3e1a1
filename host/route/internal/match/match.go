// Package match says which routes an event asks, and what they make of it. A
// Table is immutable: the router swaps it whole, and events are matched without
// any lock.
package match

import (
	"fmt"
	"sync/atomic"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/sdk/wire"
)

// Table holds the routes of a generation by what they come from. R is the
// route as the router keeps it.
type Table[R comparable] struct {
	entries map[key][]Entry[R] // in config order
}

type key struct{ address, event string }

// Entry is a route as one generation wrote it. Expressions are here and not in
// the route, because a route that is kept gets those of the new generation,
// which may see other variables.
type Entry[R comparable] struct {
	Route R
	when  *config.Expr
	input *config.Expr
}

// NewTable returns a table of routes; route gives the router's for the one at n.
func NewTable[R comparable](routes []config.Route, route func(n int) R) *Table[R] {
	t := &Table[R]{entries: map[key][]Entry[R]{}}
	for n := range routes {
		c := &routes[n]
		rt := route(n)
		for _, from := range c.From {
			k := key{from.Instance, from.Name}
			list := t.entries[k]
			if len(list) > 0 && list[len(list)-1].Route == rt {
				continue // named twice, asked once
			}
			t.entries[k] = append(list, Entry[R]{rt, c.When, c.Input})
		}
	}
	return t
}

// Asks reports whether the route's when holds for an event. The error says why
// that cannot be told, which is as much as no.
func (e *Entry[R]) Asks(ev *wire.Event) (bool, *wire.Error) {
	if e.when == nil {
		return true, nil
	}
	ok, err := e.when.Bool(ev)
	if err != nil {
		return false, &wire.Error{Code: wire.InvalidArgument, Message: "when: " + err.Error()}
	}
	return ok, nil
}

// Why says which clauses of when did not hold for an event.
func (e *Entry[R]) Why(ev *wire.Event) string { return e.when.Why(ev) }

// Input returns the action's input, and false when that is the event's data.
func (e *Entry[R]) Input(ev *wire.Event) ([]byte, bool, *wire.Error) {
	if e.input == nil {
		return nil, false, nil
	}
	b, err := e.input.JSON(ev)
	switch {
	case err != nil:
		return nil, true, &wire.Error{Code: wire.InvalidArgument, Message: "input: " + err.Error()}
	case len(b) > wire.MaxEvent:
		return nil, true, &wire.Error{Code: wire.InvalidArgument,
			Message: fmt.Sprintf("input: it has %d bytes, the limit is %d", len(b), wire.MaxEvent)}
	}
	return b, true, nil
}

// Find returns the entry of an event whose route is wanted, or nil.
func (t *Table[R]) Find(address, event string, want func(R) bool) *Entry[R] {
	list := t.entries[key{address, event}]
	for n := range list {
		if want(list[n].Route) {
			return &list[n]
		}
	}
	return nil
}

// View is what one source sees of a table, by index of its events: all that
// an emit looks up.
type View[R comparable] struct {
	Table  *Table[R]
	Source string // node/instance
	Events []Outlook[R]
}

// Outlook is one event of a source.
type Outlook[R comparable] struct {
	Type    string // http.orders.request
	Entries []Entry[R]
}

// Cache remembers the view that a source had last.
type Cache[R comparable] struct{ view atomic.Pointer[View[R]] }

// Has reports whether the source has looked at a table.
func (c *Cache[R]) Has(t *Table[R]) bool {
	v := c.view.Load()
	return v != nil && v.Table == t
}

// Look returns the view of the source at an address, whose cache it uses.
func (t *Table[R]) Look(c *Cache[R], node, address string, events []string) *View[R] {
	if v := c.view.Load(); v != nil && v.Table == t {
		return v
	}
	v := &View[R]{Table: t, Source: address, Events: make([]Outlook[R], len(events))}
	if node != "" {
		v.Source = node + "/" + address
	}
	for n, name := range events {
		v.Events[n] = Outlook[R]{Type: address + "." + name, Entries: t.entries[key{address, name}]}
	}
	c.view.Store(v)
	return v
}

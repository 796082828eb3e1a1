// Package book keeps the ledger of a route or of all events: what is taken is
// pending until it ends, in one column, once.
package book

import "github.com/pluginhost/host/host/observe"

// Ending is a column in which something ends.
type Ending uint8

// Endings.
const (
	Resolved Ending = iota
	Rejected        // for good
	Dead            // for good, and told to the dead letter action
	Dropped         // to make room
)

// Book is a ledger that always balances.
type Book struct{ observe.Counts }

// Take enters something as accepted and pending.
func (b *Book) Take() {
	b.Accepted++
	b.Pending++
}

// End moves something that is pending to its column.
func (b *Book) End(how Ending) {
	b.Pending--
	switch how {
	case Resolved:
		b.Resolved++
	case Rejected:
		b.Rejected++
	case Dead:
		b.Dead++
	case Dropped:
		b.Dropped++
	}
}

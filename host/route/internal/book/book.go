// Package book keeps the ledger of a route or of all events: what is taken is
// pending until it ends, in one column, once.
package book

import (
	"cmp"
	"slices"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/route/internal/reason"
	"github.com/pluginhost/host/sdk/wire"
)

// Ending is a column in which something ends.
type Ending uint8

// Endings.
const (
	Resolved Ending = iota
	Rejected        // for good
	Dead            // for good, and told to the dead letter action
	Dropped         // to make room
)

var columns = [...]string{"resolved", "rejected", "dead", "dropped"}

// reasons bounds how many reasons a ledger tells apart: a plugin may give its
// own. All others count as other.
const reasons = 32

// longest is how many bytes of a reason are kept.
const longest = 64

// Book is a ledger that always balances. Each end without success has a
// reason: the word that its error has for machines, or its code.
type Book struct {
	observe.Counts
	why map[entry]uint64
}

type entry struct {
	how    Ending
	reason string
}

// Take enters something as accepted and pending.
func (b *Book) Take() {
	b.Accepted++
	b.Pending++
}

// End moves something that is pending to its column. err is why, when that is
// not Resolved.
func (b *Book) End(how Ending, err *wire.Error) {
	b.Pending--
	switch how {
	case Resolved:
		b.Resolved++
		return
	case Rejected:
		b.Rejected++
	case Dead:
		b.Dead++
	case Dropped:
		b.Dropped++
	}
	e := entry{how, "unknown"}
	if err != nil {
		e.reason = reason.Cut(cmp.Or(err.Reason, err.Code.String()), longest)
	}
	b.note(e, 1)
}

func (b *Book) note(e entry, n uint64) {
	if b.why == nil {
		b.why = map[entry]uint64{}
	}
	if _, known := b.why[e]; !known && len(b.why) >= reasons {
		e.reason = "other"
	}
	b.why[e] += n
}

// Leave moves what has ended to another book, so that both balance.
func (b *Book) Leave(to *Book) {
	ended := b.Counts
	ended.Accepted -= ended.Pending
	ended.Pending = 0
	b.Counts = observe.Counts{Accepted: b.Pending, Pending: b.Pending}
	to.Accepted += ended.Accepted
	to.Resolved += ended.Resolved
	to.Rejected += ended.Rejected
	to.Dead += ended.Dead
	to.Dropped += ended.Dropped
	to.Attempts += ended.Attempts
	to.Retries += ended.Retries
	to.Late += ended.Late
	to.Replayed += ended.Replayed
	for e, n := range b.why {
		to.note(e, n)
	}
	b.why = nil
}

// Reasons lists what ended without success and why, most first.
func (b *Book) Reasons() []observe.Reason {
	var all []observe.Reason
	for e, n := range b.why {
		all = append(all, observe.Reason{Ending: columns[e.how], Reason: e.reason, Count: n})
	}
	slices.SortFunc(all, func(x, y observe.Reason) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Ending, y.Ending), cmp.Compare(x.Reason, y.Reason))
	})
	return all
}

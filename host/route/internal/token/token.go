// Package token gives out tokens: words that cannot be guessed and that stand
// for something until it ends. What became of a token is remembered for a
// while, so that whoever uses it again learns why it is no good.
package token

import "crypto/rand"

// remembered is how many tokens that have ended are told from such that never were.
const remembered = 1 << 16

// Fate is what became of a token.
type Fate uint8

// Fates.
const (
	Unknown Fate = iota // it never was, or is forgotten
	Stale               // what it stood for was given up
	Used                // it was used
)

// Table holds the tokens that stand for something. The zero Table is empty.
type Table[T any] struct {
	live map[string]*T
	past map[string]Fate
	ring []string // past, in the order of their ends
	next int      // place in ring when it is full
}

// Issue returns a token of an item: 26 letters and digits, 128 random bits.
func (t *Table[T]) Issue(item *T) string {
	if t.live == nil {
		t.live, t.past = map[string]*T{}, map[string]Fate{}
	}
	s := rand.Text()
	t.live[s] = item
	return s
}

// Find returns the item of a token, or nil and what became of the token.
func (t *Table[T]) Find(token string) (*T, Fate) {
	if item := t.live[token]; item != nil {
		return item, Unknown
	}
	return nil, t.past[token]
}

// End ends a token.
func (t *Table[T]) End(token string, how Fate) {
	if t.live[token] == nil {
		return
	}
	delete(t.live, token)
	t.past[token] = how
	if len(t.ring) < remembered {
		t.ring = append(t.ring, token)
		return
	}
	delete(t.past, t.ring[t.next])
	t.ring[t.next] = token
	t.next = (t.next + 1) % remembered
}

// All returns what tokens stand for, in no order.
func (t *Table[T]) All() []*T {
	all := make([]*T, 0, len(t.live))
	for _, item := range t.live {
		all = append(all, item)
	}
	return all
}

// Package number gives numbers to deliveries and finds them again.
package number

// Bits bounds the numbers, so that whoever shares a lane between instances has
// room for a handle above. At a million a second numbers come again after
// twelve days.
const Bits = 40

// Table gives out numbers from 1. They ascend and are not used twice; the low
// bits of a number are its slot, and a number whose slot is taken is skipped.
// That is a map without hashing, and it remembers the owner of what was removed
// lately. The zero Table is empty.
type Table[T, Owner any] struct {
	slots []slot[T, Owner] // a power of two, at most half of them taken
	used  int
	last  uint64
	again bool // numbers have come round
}

type slot[T, Owner any] struct {
	number uint64
	item   *T // nil when removed
	owner  *Owner
}

// Add gives an item a number.
func (t *Table[T, Owner]) Add(item *T, owner *Owner) uint64 {
	if 2*t.used >= len(t.slots) {
		t.grow()
	}
	for {
		t.last++
		if t.last >= 1<<Bits {
			t.last, t.again = 1, true
		}
		s := t.slot(t.last)
		if s.item == nil {
			*s = slot[T, Owner]{t.last, item, owner}
			t.used++
			return t.last
		}
	}
}

func (t *Table[T, Owner]) slot(number uint64) *slot[T, Owner] {
	return &t.slots[number&uint64(len(t.slots)-1)]
}

func (t *Table[T, Owner]) grow() {
	old := t.slots
	t.slots = make([]slot[T, Owner], max(2*len(old), 64))
	for _, s := range old {
		if s.item != nil {
			*t.slot(s.number) = s
		}
	}
}

// Find returns the item of a number, or nil when it was removed, and its
// owner, or nil when that was forgotten.
func (t *Table[T, Owner]) Find(number uint64) (*T, *Owner) {
	if len(t.slots) == 0 {
		return nil, nil
	}
	s := t.slot(number)
	if s.number != number {
		return nil, nil
	}
	return s.item, s.owner
}

// Given reports whether a number was ever given out.
func (t *Table[T, Owner]) Given(number uint64) bool {
	return number > 0 && number < 1<<Bits && (number <= t.last || t.again)
}

// Remove ends the use of a number.
func (t *Table[T, Owner]) Remove(number uint64) {
	if item, _ := t.Find(number); item != nil {
		t.slot(number).item = nil
		t.used--
	}
}

// All returns the items that have a number, in no order.
func (t *Table[T, Owner]) All() []*T {
	var all []*T
	for _, s := range t.slots {
		if s.item != nil {
			all = append(all, s.item)
		}
	}
	return all
}

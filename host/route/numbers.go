package route

// numberBits bounds the numbers of deliveries, so that whoever shares a lane
// between inboxes has room for a handle above. At a million a second they
// come again after twelve days.
const numberBits = 40

// numbers gives numbers to the deliveries of an inbox and finds them again.
// Numbers ascend and are not used twice; the low bits are the slot, and a
// number whose slot is taken is skipped. That is a map without hashing, and it
// remembers the route of what was finished lately.
type numbers struct {
	slots []slot // a power of two, at most half of them taken
	used  int
	last  uint64
}

type slot struct {
	number uint64
	d      *delivery // nil when finished
	route  *route
}

func (n *numbers) add(d *delivery) uint64 {
	if 2*n.used >= len(n.slots) {
		n.grow()
	}
	for {
		n.last++
		if n.last >= 1<<numberBits {
			n.last = 1
		}
		s := &n.slots[n.last&uint64(len(n.slots)-1)]
		if s.d == nil {
			*s = slot{n.last, d, d.route}
			n.used++
			return n.last
		}
	}
}

func (n *numbers) grow() {
	old := n.slots
	n.slots = make([]slot, max(2*len(old), 64))
	for _, s := range old {
		if s.d != nil {
			n.slots[s.number&uint64(len(n.slots)-1)] = s
		}
	}
}

// find returns the delivery, or nil when it is finished, and its route, or nil
// when that was forgotten.
func (n *numbers) find(number uint64) (*delivery, *route) {
	if len(n.slots) == 0 {
		return nil, nil
	}
	s := &n.slots[number&uint64(len(n.slots)-1)]
	if s.number != number {
		return nil, nil
	}
	return s.d, s.route
}

func (n *numbers) remove(number uint64) {
	s := &n.slots[number&uint64(len(n.slots)-1)]
	if s.number == number && s.d != nil {
		s.d = nil
		n.used--
	}
}

func (n *numbers) all() []*delivery {
	var all []*delivery
	for _, s := range n.slots {
		if s.d != nil {
			all = append(all, s.d)
		}
	}
	return all
}

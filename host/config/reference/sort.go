package reference

import "slices"

// maxCycles bounds how many circles are told.
const maxCycles = 20

// Sort orders names so that what is referred to comes first. Of cycles it
// returns the chains; their members, and those that refer to them, are not in
// the order.
func Sort(names []string, refs func(string) []string) (order []string, cycles [][]string) {
	const entered, left, lost = 1, 2, 3
	state := map[string]int{}
	var stack []string
	var visit func(string) bool
	visit = func(n string) bool {
		switch state[n] {
		case left:
			return true
		case lost:
			return false
		case entered:
			if len(cycles) < maxCycles {
				cycles = append(cycles, append(slices.Clone(stack[slices.Index(stack, n):]), n))
			}
			return false
		}
		state[n] = entered
		stack = append(stack, n)
		ok := true
		for _, r := range refs(n) {
			ok = visit(r) && ok
		}
		stack = stack[:len(stack)-1]
		state[n] = left
		if ok {
			order = append(order, n)
		} else {
			state[n] = lost
		}
		return ok
	}
	for _, n := range names {
		visit(n)
	}
	return order, cycles
}

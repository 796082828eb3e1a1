package plan

import (
	"slices"
	"strings"

	"github.com/pluginhost/host/host/config"
)

// levels gives an instance the length of its longest chain of references:
// those at 0 refer to nobody. It looks only at those that it is asked for, and
// what they refer to. Config has refused cycles; should one get here, it is cut
// where it was entered.
type levels struct {
	in    []config.Instance // by address
	level map[string]int    // of those asked for; also of those entered
}

func newLevels(in []config.Instance) *levels { return &levels{in, map[string]int{}} }

func (l *levels) of(address string) int {
	if n, ok := l.level[address]; ok {
		return n
	}
	at, ok := slices.BinarySearchFunc(l.in, address, func(i config.Instance, a string) int { return strings.Compare(i.Address, a) })
	if !ok {
		return -1
	}
	l.level[address] = 0
	n := 0
	for _, ref := range l.in[at].DependsOn {
		n = max(n, l.of(ref)+1)
	}
	l.level[address] = n
	return n
}

// DrainOrder groups addresses so that whoever sends events along routes is
// drained before those who receive them: what is in flight can then still be
// answered. Addresses in a cycle of routes share a group.
func DrainOrder(addresses []string, routes []config.Route) [][]string {
	leaving := map[string]bool{}
	for _, a := range addresses {
		leaving[a] = true
	}
	senders := map[string]map[string]bool{} // receiver → its senders
	for _, r := range routes {
		for _, from := range r.From {
			if leaving[from.Instance] && leaving[r.To.Instance] && from.Instance != r.To.Instance {
				if senders[r.To.Instance] == nil {
					senders[r.To.Instance] = map[string]bool{}
				}
				senders[r.To.Instance][from.Instance] = true
			}
		}
	}
	var groups [][]string
	for len(leaving) > 0 {
		var group []string
		for a := range leaving {
			free := true
			for s := range senders[a] {
				free = free && !leaving[s]
			}
			if free {
				group = append(group, a)
			}
		}
		if len(group) == 0 { // only cycles are left
			for a := range leaving {
				group = append(group, a)
			}
		}
		slices.Sort(group)
		for _, a := range group {
			delete(leaving, a)
		}
		groups = append(groups, group)
	}
	return groups
}

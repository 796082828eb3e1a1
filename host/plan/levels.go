package plan

import (
	"slices"

	"github.com/pluginhost/host/host/config"
)

// levels gives each instance the length of its longest chain of references:
// those at 0 refer to nobody. Config has refused cycles; should one get here,
// it is cut where it was entered.
func levels(in map[string]*config.Instance) map[string]int {
	level := make(map[string]int, len(in))
	entered := map[string]bool{}
	var visit func(address string) int
	visit = func(address string) int {
		if n, ok := level[address]; ok || entered[address] {
			return n
		}
		entered[address] = true
		n := 0
		for _, ref := range in[address].DependsOn {
			if _, ok := in[ref]; ok {
				n = max(n, visit(ref)+1)
			}
		}
		level[address] = n
		return n
	}
	for address := range in {
		visit(address)
	}
	return level
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

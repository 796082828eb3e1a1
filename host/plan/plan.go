// Package plan compares two generations and says, in order, what would have to
// be done. It is pure: it asks and changes nothing.
package plan

import (
	"fmt"
	"strings"
)

// Op is what happens to an instance.
type Op string

// Ops.
const (
	Update  Op = "update"  // the host's own settings change; the plugin is not told
	Replace Op = "replace" // a new instance takes over from the old one
	Start   Op = "start"
	Stop    Op = "stop"
)

// Plan is the ordered difference between two generations.
type Plan struct {
	Steps  []Step   `json:"steps"`  // stops last; the rest by level, then address
	Routes []Change `json:"routes"` // routes added, removed, changed
	Kept   int      `json:"kept"`   // instances that are untouched: same process, same connections
}

// Step is what happens to one instance. Steps of one level do not depend on
// each other.
type Step struct {
	Op      Op       `json:"op"`
	Address string   `json:"address"`
	Level   int      `json:"level"`
	Reason  string   `json:"reason,omitempty"` // why replace
	Changes []Change `json:"changes,omitempty"`
	Drains  Drains   `json:"drains,omitzero"` // what the old instance has in hand, where somebody looked
}

// Drains is what an instance that leaves still finishes.
type Drains struct {
	Deliveries  int `json:"deliveries,omitempty"`
	Connections int `json:"connections,omitempty"`
}

// Change is one attribute or route that differs. Old or New is empty where it
// did not or will not exist. Secrets show as (secret).
type Change struct {
	Name string `json:"name"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 && len(p.Routes) == 0 }

// Summary counts the steps.
func (p *Plan) Summary() string {
	n := map[Op]int{}
	for _, s := range p.Steps {
		n[s.Op]++
	}
	var parts []string
	for _, x := range []struct {
		n    int
		what string
	}{{n[Start], "to start"}, {n[Replace], "to replace"}, {n[Update], "to update"}, {n[Stop], "to stop"}, {len(p.Routes), "routes changed"}} {
		if x.n == 1 {
			x.what = strings.Replace(x.what, "routes", "route", 1)
		}
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	return strings.Join(append(parts, fmt.Sprintf("%d kept", p.Kept)), ", ")
}

package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pluginhost/host/host/config"
)

// Make compares the generation that is serving with the one that is wanted.
// have is nil at the first start, want is nil at the end. An instance in failed
// has ended for good and is replaced even when nothing about it changed. What
// did not change costs one comparison.
func Make(have, want *config.Config, failed map[string]bool) *Plan {
	old, wanted := instances(have), instances(want)
	before, after := newLevels(old), newLevels(wanted)
	p := &Plan{Routes: routes(have, want)}
	var stops []Step
	for len(old) > 0 || len(wanted) > 0 {
		switch {
		case len(wanted) == 0 || len(old) > 0 && old[0].Address < wanted[0].Address:
			stops = append(stops, Step{Op: Stop, Address: old[0].Address, Level: before.of(old[0].Address)})
			old = old[1:]
		case len(old) == 0 || wanted[0].Address < old[0].Address:
			p.Steps = append(p.Steps, Step{Op: Start, Address: wanted[0].Address, Level: after.of(wanted[0].Address)})
			wanted = wanted[1:]
		default:
			if s := compare(&old[0], &wanted[0], failed); s.Op != "" {
				s.Address, s.Level = wanted[0].Address, after.of(wanted[0].Address)
				p.Steps = append(p.Steps, s)
			} else {
				p.Kept++
			}
			old, wanted = old[1:], wanted[1:]
		}
	}
	slices.SortFunc(p.Steps, order)
	// Stops come last, and in reverse: what others refer to ends after them.
	slices.SortFunc(stops, func(a, b Step) int { return order(b, a) })
	p.Steps = append(p.Steps, stops...)
	return p
}

func order(a, b Step) int {
	if a.Level != b.Level {
		return a.Level - b.Level
	}
	return strings.Compare(a.Address, b.Address)
}

// compare says what happens to an instance that both generations have. The Op
// is empty when that is nothing.
func compare(have, want *config.Instance, failed map[string]bool) Step {
	var s Step
	if have.Print == "" || have.Print != want.Print {
		s = differ(have, want)
	}
	if s.Op != Replace && failed[want.Address] {
		s.Op, s.Reason = Replace, "it has failed"
	}
	return s
}

// differ looks for what changed.
func differ(have, want *config.Instance) Step {
	var s Step
	if have.Digest != want.Digest {
		s.Op, s.Reason = Replace, "its plugin changed"
		if a, b := version(have), version(want); a != b {
			s.Changes = append(s.Changes, Change{Name: "plugin version", Old: a, New: b})
		} else {
			s.Changes = append(s.Changes, Change{Name: "plugin digest", Old: short(have.Digest), New: short(want.Digest)})
		}
	}
	if !bytes.Equal(have.Config, want.Config) {
		if s.Op == "" {
			s.Reason = "its configuration changed"
		}
		s.Op = Replace
		s.Changes = append(s.Changes, attributes(have, want)...)
	}
	a, b := have.Process, want.Process
	a.Restart, b.Restart = config.Restart{}, config.Restart{}
	if !reflect.DeepEqual(normal(a), normal(b)) {
		if s.Op == "" {
			s.Reason = "its process settings changed"
		}
		s.Op = Replace
		s.Changes = append(s.Changes, settings(a, b)...)
	}
	if moved := listeners(have, want); len(moved) > 0 {
		if s.Op == "" {
			s.Op = Update
		}
		if s.Op == Update {
			s.Changes = append(s.Changes, moved...)
		}
	}
	if have.Process.Restart != want.Process.Restart {
		if s.Op == "" {
			s.Op = Update
		}
		s.Changes = append(s.Changes, Change{Name: "process.restart", Old: restart(have), New: restart(want)})
	}
	return s
}

// listeners lists the listeners of which something changed that is changed in
// place. What makes another socket of them is in the configuration that the
// plugin gets.
func listeners(have, want *config.Instance) []Change {
	var changes []Change
	old := map[string]config.Resource{}
	for _, r := range have.Resources {
		old[r.Attribute] = r
	}
	for _, r := range want.Resources {
		if o, ok := old[r.Attribute]; ok && o.Listen.Settings != r.Listen.Settings {
			changes = append(changes, Change{Name: r.Attribute, Old: strconv.Quote(o.Value), New: strconv.Quote(r.Value)})
		}
	}
	return changes
}

// attributes lists the top-level attributes that differ, by the printable form:
// a secret shows as (secret) on both sides.
func attributes(have, want *config.Instance) []Change {
	oldValues, newValues := object(have.Config), object(want.Config)
	oldShown, newShown := object(have.Shown), object(want.Shown)
	names := maps.Clone(oldValues)
	if names == nil {
		names = map[string]json.RawMessage{}
	}
	maps.Copy(names, newValues)
	var changes []Change
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !bytes.Equal(oldValues[name], newValues[name]) {
			changes = append(changes, Change{Name: name, Old: string(oldShown[name]), New: string(newShown[name])})
		}
	}
	return changes
}

func object(b json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(b, &m) != nil {
		return nil
	}
	return m
}

// settings lists the process settings that differ. Values of the environment
// may be secrets and are not shown.
func settings(a, b config.Process) []Change {
	var changes []Change
	add := func(name, old, new string) {
		if old != new {
			changes = append(changes, Change{Name: "process." + name, Old: old, New: new})
		}
	}
	add("isolation", a.Isolation, b.Isolation)
	add("user", a.User, b.User)
	add("memory", strconv.FormatInt(a.Memory, 10), strconv.FormatInt(b.Memory, 10))
	if !maps.Equal(a.Env, b.Env) {
		changes = append(changes, Change{Name: "process.env", Old: names(a.Env), New: names(b.Env)})
	}
	return changes
}

func names(env map[string]string) string {
	return fmt.Sprint(slices.Sorted(maps.Keys(env)))
}

// normal makes an absent environment equal to an empty one.
func normal(p config.Process) config.Process {
	if len(p.Env) == 0 {
		p.Env = nil
	}
	return p
}

func restart(in *config.Instance) string {
	r := in.Process.Restart
	return fmt.Sprintf("%d within %s, backoff %s", r.Max, r.Within, r.Backoff)
}

func version(in *config.Instance) string {
	if in.Manifest == nil {
		return ""
	}
	return in.Manifest.Version
}

func short(digest string) string { return digest[:min(12, len(digest))] }

// routes lists the routes that differ, removed and changed ones in the old
// order, then new ones. Their order decides whose value wins, so that moving a
// route is a change too.
func routes(have, want *config.Config) []Change {
	before, after := routesOf(have), routesOf(want)
	if slices.EqualFunc(before, after, func(a, b config.Route) bool { return a.Name == b.Name && a.Text == b.Text }) {
		return nil
	}
	old, wanted := routeTexts(have), routeTexts(want)
	var changes []Change
	for _, r := range before {
		if text := wanted[r.Name]; text != r.Text {
			changes = append(changes, Change{Name: r.Name, Old: r.Text, New: text})
		}
	}
	for _, r := range after {
		if _, ok := old[r.Name]; !ok {
			changes = append(changes, Change{Name: r.Name, New: r.Text})
		}
	}
	if len(changes) == 0 {
		changes = append(changes, Change{Name: "(order)", Old: routeNames(have), New: routeNames(want)})
	}
	return changes
}

func routesOf(c *config.Config) []config.Route {
	if c == nil {
		return nil
	}
	return c.Routes
}

func routeTexts(c *config.Config) map[string]string {
	m := map[string]string{}
	for _, r := range routesOf(c) {
		m[r.Name] = r.Text
	}
	return m
}

func routeNames(c *config.Config) string {
	var s []string
	for _, r := range routesOf(c) {
		s = append(s, r.Name)
	}
	return fmt.Sprint(s)
}

// instances returns those of c by address, as config.Build leaves them. An
// instance is a large value: to look at thousands without copying them is most
// of what makes a plan quick.
func instances(c *config.Config) []config.Instance {
	if c == nil {
		return nil
	}
	for n := 1; n < len(c.Instances); n++ {
		if c.Instances[n].Address < c.Instances[n-1].Address {
			return slices.SortedFunc(slices.Values(c.Instances), func(a, b config.Instance) int { return strings.Compare(a.Address, b.Address) })
		}
	}
	return c.Instances
}

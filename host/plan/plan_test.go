package plan_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/plan"
	"github.com/pluginhost/host/sdk/schema"
)

func in(address, value string, refs ...string) config.Instance {
	return config.Instance{
		Address: address, Plugin: strings.Split(address, ".")[0], Digest: "d1",
		Manifest:  &schema.Manifest{Version: "1.0.0"},
		Config:    json.RawMessage(fmt.Sprintf(`{"secret":"s","value":%q}`, value)),
		Shown:     json.RawMessage(fmt.Sprintf(`{"secret":"(secret)","value":%q}`, value)),
		DependsOn: refs,
		Process:   config.Process{Restart: config.Restart{Max: 5, Within: time.Minute}},
	}
}

func cfg(in ...config.Instance) *config.Config { return &config.Config{Instances: in} }

func text(p *plan.Plan) string {
	var b strings.Builder
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%s %s %d", s.Op, s.Address, s.Level)
		if s.Reason != "" {
			fmt.Fprintf(&b, " (%s)", s.Reason)
		}
		for _, c := range s.Changes {
			fmt.Fprintf(&b, " %s: %s -> %s", c.Name, c.Old, c.New)
		}
		b.WriteByte('\n')
	}
	if p.Kept > 0 {
		fmt.Fprintf(&b, "%d kept\n", p.Kept)
	}
	for _, r := range p.Routes {
		fmt.Fprintf(&b, "route %s: %q -> %q\n", r.Name, r.Old, r.New)
	}
	return b.String()
}

func TestMake(t *testing.T) {
	with := func(i config.Instance, f func(*config.Instance)) config.Instance { f(&i); return i }
	route := func(name, text string) config.Route { return config.Route{Name: name, Text: text} }
	routes := func(c *config.Config, r ...config.Route) *config.Config { c.Routes = r; return c }
	for _, tt := range []struct {
		name       string
		have, want *config.Config
		failed     map[string]bool
		steps      string
	}{
		{name: "first start, by level then address",
			want:  cfg(in("b.x", "1", "a.x"), in("c.x", "1"), in("a.x", "1"), in("d.x", "1", "b.x", "c.x")),
			steps: "start a.x 0\nstart c.x 0\nstart b.x 1\nstart d.x 2\n"},
		{name: "stops come last, in reverse",
			have:  cfg(in("a.x", "1"), in("b.x", "1", "a.x"), in("k.x", "1")),
			want:  cfg(in("k.x", "1")),
			steps: "stop b.x 1\nstop a.x 0\n1 kept\n"},
		{name: "an attribute",
			have: cfg(in("a.x", "1")), want: cfg(in("a.x", "2")),
			steps: "replace a.x 0 (its configuration changed) value: \"1\" -> \"2\"\n"},
		{name: "a secret does not show",
			have: cfg(in("a.x", "1")),
			want: cfg(with(in("a.x", "1"), func(i *config.Instance) {
				i.Config = json.RawMessage(`{"secret":"t","value":"1"}`)
			})),
			steps: "replace a.x 0 (its configuration changed) secret: \"(secret)\" -> \"(secret)\"\n"},
		{name: "a plugin",
			have: cfg(in("a.x", "1")),
			want: cfg(with(in("a.x", "1"), func(i *config.Instance) {
				i.Digest, i.Manifest = "d2", &schema.Manifest{Version: "1.1.0"}
			})),
			steps: "replace a.x 0 (its plugin changed) plugin version: 1.0.0 -> 1.1.0\n"},
		{name: "the same version built anew",
			have:  cfg(in("a.x", "1")),
			want:  cfg(with(in("a.x", "1"), func(i *config.Instance) { i.Digest = "d2" })),
			steps: "replace a.x 0 (its plugin changed) plugin digest: d1 -> d2\n"},
		{name: "the environment is named, not shown",
			have: cfg(in("a.x", "1")),
			want: cfg(with(in("a.x", "1"), func(i *config.Instance) {
				i.Process.Env = map[string]string{"TOKEN": "hunter2"}
			})),
			steps: "replace a.x 0 (its process settings changed) process.env: [] -> [TOKEN]\n"},
		{name: "restart settings are the host's own",
			have:  cfg(in("a.x", "1")),
			want:  cfg(with(in("a.x", "1"), func(i *config.Instance) { i.Process.Restart.Max = 9 })),
			steps: "update a.x 0 process.restart: 5 within 1m0s, backoff 0s -> 9 within 1m0s, backoff 0s\n"},
		{name: "one that failed is started anew",
			have: cfg(in("a.x", "1"), in("b.x", "1")), want: cfg(in("a.x", "1"), in("b.x", "1")),
			failed: map[string]bool{"b.x": true},
			steps:  "replace b.x 0 (it has failed)\n1 kept\n"},
		{name: "routes",
			have:  routes(cfg(), route("gone", "1"), route("kept", "1"), route("changed", "1")),
			want:  routes(cfg(), route("new", "1"), route("kept", "1"), route("changed", "2")),
			steps: "route gone: \"1\" -> \"\"\nroute changed: \"1\" -> \"2\"\nroute new: \"\" -> \"1\"\n"},
		{name: "the order of routes decides whose value wins",
			have:  routes(cfg(), route("a", "1"), route("b", "1")),
			want:  routes(cfg(), route("b", "1"), route("a", "1")),
			steps: "route (order): \"[a b]\" -> \"[b a]\"\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := text(plan.Make(tt.have, tt.want, tt.failed)); got != tt.steps {
				t.Errorf("got\n%swant\n%s", got, tt.steps)
			}
		})
	}
}

// For random pairs of configurations: a plan from a to a is empty, and doing
// what the plan from a to b says to a gives b.
func TestMakeIsComplete(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() *config.Config {
		c := &config.Config{}
		for n := range 8 {
			if r.IntN(2) == 0 {
				var refs []string
				for m := range n {
					if r.IntN(3) == 0 {
						refs = append(refs, fmt.Sprintf("p.i%d", m))
					}
				}
				c.Instances = append(c.Instances, in(fmt.Sprintf("p.i%d", n), fmt.Sprint(r.IntN(2)), refs...))
			}
		}
		return c
	}
	for range 2000 {
		a, b := random(), random()
		if p := plan.Make(a, a, nil); !p.Empty() {
			t.Fatalf("from a configuration to itself:\n%s", text(p))
		}
		got := map[string]string{}
		for _, i := range a.Instances {
			got[i.Address] = string(i.Config)
		}
		want := map[string]string{}
		for _, i := range b.Instances {
			want[i.Address] = string(i.Config)
		}
		p := plan.Make(a, b, nil)
		done := map[string]bool{} // or kept
		for address := range want {
			done[address] = !slices.ContainsFunc(p.Steps, func(s plan.Step) bool { return s.Address == address })
		}
		for _, s := range p.Steps {
			switch s.Op {
			case plan.Start, plan.Replace:
				if _, ok := got[s.Address]; ok != (s.Op == plan.Replace) {
					t.Fatalf("%s %s, which is there: %v", s.Op, s.Address, ok)
				}
				got[s.Address] = want[s.Address]
			case plan.Stop:
				delete(got, s.Address)
			}
			if s.Op != plan.Stop {
				n := slices.IndexFunc(b.Instances, func(i config.Instance) bool { return i.Address == s.Address })
				for _, ref := range b.Instances[n].DependsOn {
					if _, ok := want[ref]; ok && !done[ref] {
						t.Fatalf("%s comes before %s, to which it refers", s.Address, ref)
					}
				}
				done[s.Address] = true
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("the plan leads to\n%v\nnot to\n%v", got, want)
		}
	}
}

func TestDrainOrder(t *testing.T) {
	route := func(from, to string) config.Route {
		return config.Route{From: []config.Endpoint{{Instance: from}}, To: config.Endpoint{Instance: to}}
	}
	got := plan.DrainOrder([]string{"exec", "file", "http", "loop1", "loop2"}, []config.Route{
		route("http", "exec"), route("exec", "file"), route("http", "elsewhere"),
		route("loop1", "loop2"), route("loop2", "loop1"), route("file", "file"),
	})
	if want := "[[http] [exec] [file] [loop1 loop2]]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

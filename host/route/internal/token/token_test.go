package token

import "testing"

func TestFates(t *testing.T) {
	var table Table[int]
	n := 7
	one, two := table.Issue(&n), table.Issue(&n)
	if one == two || len(one) < 26 {
		t.Fatalf("tokens %q and %q", one, two)
	}
	if item, _ := table.Find(one); item != &n {
		t.Error("a live token is not found")
	}
	table.End(one, Used)
	table.End(two, Stale)
	table.End(two, Used) // the first end counts
	for token, want := range map[string]Fate{one: Used, two: Stale, "forged": Unknown} {
		if item, fate := table.Find(token); item != nil || fate != want {
			t.Errorf("%s: %v, fate %d, want %d", token, item, fate, want)
		}
	}
}

// What has ended is forgotten in its order, and takes no more room than it may.
func TestPastIsBounded(t *testing.T) {
	var table Table[int]
	n := 0
	first := table.Issue(&n)
	table.End(first, Used)
	var last string
	for range remembered {
		last = table.Issue(&n)
		table.End(last, Used)
	}
	if len(table.past) != remembered || len(table.ring) != remembered || len(table.All()) != 0 {
		t.Errorf("%d tokens remembered in a ring of %d", len(table.past), len(table.ring))
	}
	if _, fate := table.Find(first); fate != Unknown {
		t.Error("the oldest is not forgotten")
	}
	if _, fate := table.Find(last); fate != Used {
		t.Error("the newest is forgotten")
	}
}

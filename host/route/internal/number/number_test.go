package number

import (
	"math/rand/v2"
	"testing"
)

// The table agrees with a map, and never gives a number twice.
func TestTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var table Table[int, string]
	owner := "route"
	model := map[uint64]*int{}
	given := map[uint64]bool{}
	if item, o := table.Find(1); item != nil || o != nil {
		t.Error("found something in an empty table")
	}
	table.Remove(1)
	for n := range 20000 {
		if rng.IntN(2) == 0 || len(model) == 0 {
			number := table.Add(&n, &owner)
			if given[number] || number == 0 {
				t.Fatalf("number %d was given twice", number)
			}
			given[number] = true
			model[number] = &n
			continue
		}
		for number := range model {
			table.Remove(number)
			table.Remove(number)
			delete(model, number)
			if item, o := table.Find(number); item != nil || o != &owner {
				t.Fatalf("after its removal %d is %v of %v", number, item, o)
			}
			break
		}
	}
	for number, item := range model {
		if got, _ := table.Find(number); got != item {
			t.Fatalf("number %d is lost", number)
		}
	}
	if n := len(table.All()); n != len(model) {
		t.Errorf("%d items, want %d", n, len(model))
	}
}

func TestNumbersComeAgain(t *testing.T) {
	var table Table[int, string]
	table.Add(new(int), nil)
	table.last = 1<<Bits - 1
	if n := table.Add(new(int), nil); n == 0 || n >= 1<<Bits {
		t.Errorf("number %d", n)
	}
}

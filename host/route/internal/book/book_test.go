package book

import (
	"fmt"
	"testing"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

func TestBook(t *testing.T) {
	var b Book
	for range 11 {
		b.Take()
	}
	for n, how := range []Ending{Resolved, Rejected, Dead, Dropped} {
		for range n + 1 {
			b.End(how, &wire.Error{Code: wire.Unavailable})
		}
	}
	if want := (observe.Counts{Accepted: 11, Pending: 1, Resolved: 1, Rejected: 2, Dead: 3, Dropped: 4}); b.Counts != want {
		t.Errorf("%+v", b.Counts)
	}
	if got := fmt.Sprint(b.Reasons()); got != "[{dropped unavailable 4} {dead unavailable 3} {rejected unavailable 2}]" {
		t.Error(got)
	}
}

// A plugin that invents a reason for each error does not fill the memory.
func TestReasonsAreBounded(t *testing.T) {
	var b Book
	for n := range 1000 {
		b.Take()
		b.End(Rejected, &wire.Error{Reason: fmt.Sprint("reason", n)})
	}
	all := b.Reasons()
	if len(all) > reasons+1 || all[0] != (observe.Reason{Ending: "rejected", Reason: "other", Count: 1000 - reasons}) {
		t.Errorf("%d reasons, first %+v", len(all), all[0])
	}
}

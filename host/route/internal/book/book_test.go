package book

import (
	"testing"

	"github.com/pluginhost/host/host/observe"
)

func TestBook(t *testing.T) {
	var b Book
	for range 11 {
		b.Take()
	}
	for n, how := range []Ending{Resolved, Rejected, Dead, Dropped} {
		for range n + 1 {
			b.End(how)
		}
	}
	if want := (observe.Counts{Accepted: 11, Pending: 1, Resolved: 1, Rejected: 2, Dead: 3, Dropped: 4}); b.Counts != want {
		t.Errorf("%+v", b.Counts)
	}
}

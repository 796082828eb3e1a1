package route

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pluginhost/host/host/config"
)

// One route of many changes: what that costs while events wait for the lock.
func BenchmarkSwap(b *testing.B) {
	for _, n := range []int{10, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := New(Options{})
			var routes []config.Route
			for i := range n {
				routes = append(routes, config.Route{Name: fmt.Sprint("r", i), Text: fmt.Sprintf("http.a%d.request → log.b%d.write when event.data.total > %d", i, i, i),
					From: []config.Endpoint{{Instance: fmt.Sprint("http.a", i), Name: "request"}},
					To:   config.Endpoint{Instance: fmt.Sprint("log.b", i), Name: "write"}, Delivery: config.Delivery{Queue: 16}})
			}
			other := slices.Clone(routes)
			other[3].Text += " "
			r.Swap(routes)
			for b.Loop() {
				r.Swap(other)
				r.Swap(routes)
			}
		})
	}
}

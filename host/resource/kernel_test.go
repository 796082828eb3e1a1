package resource_test

import (
	"errors"
	"testing"

	"github.com/pluginhost/host/host/resource"
	"github.com/pluginhost/host/host/resource/address"
)

// For every pair of addresses the kernel agrees with what is said of them: those
// with one key are one socket; of two others that do not collide, two owners
// that know nothing of each other can have both; of two that collide, they
// cannot, but one owner can take over from the other.
func TestKernelAgrees(t *testing.T) {
	if !alone(t) {
		return
	}
	ip(t, "link set lo up")
	ip(t, "link add dum0 type bridge")
	ip(t, "addr add 10.9.9.9/24 dev dum0")
	ip(t, "addr add fd99::9/64 dev dum0 nodad")
	ip(t, "link set dum0 up")
	ip(t, "addr add fe80::99/64 dev dum0 nodad")
	ip(t, "addr add fe80::99/64 dev lo nodad")
	sp := serve(t)
	hosts := []string{
		"127.0.0.1:7001", "127.0.0.1:7002", "localhost:7001", "10.9.9.9:7001", "0.0.0.0:7001", ":7001", "[::]:7001", "[::]:7001?v6only=0",
		"[::1]:7001", "[::1%lo]:7001", "[fd99::9]:7001", "[fe80::99%dum0]:7001", "[fe80::99%lo]:7001",
		"127.0.0.1:7001?device=lo", "127.0.0.1:7001?device=dum0", "0.0.0.0:7001?device=lo", "0.0.0.0:7001?device=dum0", ":7001?device=lo",
		"192.0.2.1:7001?freebind=1", "127.0.0.1:7001?freebind=1", "192.0.2.1:7001?transparent=1", "127.0.0.1:7001?reuseport=1",
		"0.0.0.0:7001?reuseport=1", "[::]:7001?reuseport=1", ":7001?reuseport=1", "[fd99::77]:7001?freebind=1", "127.0.0.1:0",
	}
	pairs := 0
	for _, network := range []string{"tcp://", "udp://"} {
		for i, x := range hosts {
			for j, y := range hosts {
				if network == "udp://" && (i+j)%3 > 0 && i != j { // the rules are the same; each look for a holder takes its time
					continue
				}
				pair(t, resource.NewTable(sp), resource.NewTable(sp), network+x, network+y)
				pairs++
			}
			pair(t, resource.NewTable(sp), resource.NewTable(sp), "tcp://"+x, "udp://"+x)
		}
	}
	t.Logf("%d pairs", pairs)
}

func pair(t *testing.T, one, other *resource.Table, x, y string) {
	t.Helper()
	a, aerr := address.Parse(x)
	b, berr := address.Parse(y)
	if aerr != nil || berr != nil {
		t.Fatal(aerr, berr)
	}
	same, collide := a.Key() == b.Key() && !a.AnyPort(), a.Collides(b)
	if same && !collide && !a.ReusePort {
		t.Fatalf("%s and %s have one key and do not collide", x, y)
	}
	first := acquire(t, one, "p.a@1", x)
	defer one.Release("p.a@1")

	// A stranger.
	_, err := other.Acquire(t.Context(), "p.b@1", listener(y))
	if err == nil {
		err = other.Set(t.Context(), "p.b@1", listener(y))
	}
	other.Release("p.b@1")
	var busy *resource.BusyError
	if collide != errors.As(err, &busy) || !collide && err != nil {
		t.Errorf("%s, then %s by a stranger: %v; collide is %t", x, y, err, collide)
	}

	// A successor.
	second := acquire(t, one, "p.b@2", y)
	defer one.Release("p.b@2")
	if same != (first.ID == second.ID) {
		t.Errorf("%s, then %s: leases %s and %s; one key is %t", x, y, first.ID, second.ID, same)
	}
}

// Package port gives a test a port of its own. It is for tests only.
//
// A port that was got from the kernel and let go again belongs to whoever asks
// next, and under load somebody does: every connection that any test makes takes
// a port out of the same range. Ports of this package come from below that range,
// and each is claimed until its test ends, across processes.
package port

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports that are given. By default the kernel takes those from 32768 on for
// sockets that ask for none.
const (
	first = 16384
	last  = 32767
)

// Test is what is needed of a testing.TB.
type Test interface {
	Helper()
	Fatal(args ...any)
	Cleanup(f func())
}

// Free returns a port that nobody has on any address, for TCP and UDP. It is not
// given to another test before this one has ended.
func Free(t Test) int {
	t.Helper()
	p, ok := free(t, first, last)
	if !ok {
		t.Fatal(fmt.Sprintf("there is no free port from %d to %d", first, last))
	}
	return p
}

func free(t Test, first, last int) (p int, ok bool) {
	ctx := context.Background() // none of this waits
	count := last - first + 1
	start := rand.IntN(count)
	for n := range count {
		p := first + (start+n)%count
		// A name in the abstract namespace is alone in this network namespace, as
		// the port is, leaves no file, and goes with its process.
		claim, err := new(net.ListenConfig).Listen(ctx, "unix", fmt.Sprintf("@host-test-port-%d", p))
		if err != nil {
			continue
		}
		if err := unused(ctx, p); err != nil {
			_ = claim.Close()
			continue
		}
		t.Cleanup(func() { _ = claim.Close() })
		return p, true
	}
	return 0, false
}

// unused tries to have a port.
func unused(ctx context.Context, p int) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf(":%d", p))
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	u, err := new(net.ListenConfig).ListenPacket(ctx, "udp", fmt.Sprintf(":%d", p))
	if err != nil {
		return err
	}
	return u.Close()
}

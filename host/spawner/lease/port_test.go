package lease

import (
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
)

// A UDP socket whose port the kernel chose has that port for good, also when it
// is bound to take over from others: a socket without a port would be given one
// of its own later, which nobody was asked about.
func TestChosenPortStays(t *testing.T) {
	for _, network := range []string{"udp4", "udp6", "udp"} {
		address := map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0", "udp": "[::]:0"}[network]
		old, _, err := Bind(&spawner.Bind{Network: network, Address: address}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer old.Close()
		if err := old.Set(spawner.Settings{}); err != nil {
			t.Fatal(err)
		}
		l, at, err := Bind(&spawner.Bind{Network: network, Address: address}, []*Lease{old})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := l.Set(spawner.Settings{}); err != nil {
			t.Fatal(err)
		}
		if name, err := unix.Getsockname(l.fd); err != nil || fmt.Sprint(portOf(name)) != portText(t, at) {
			t.Errorf("%s: it was said to be at %s, and is at port %d, %v", network, at, portOf(name), err)
		}
		// And it is reached there.
		to := net.JoinHostPort(map[string]string{"udp4": "127.0.0.1", "udp6": "::1", "udp": "::1"}[network], portText(t, at))
		c, err := net.Dial("udp", to)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Errorf("%s: %v", network, err)
		}
		b := make([]byte, 8)
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if n, _, err := unix.Recvfrom(l.fd, b, unix.MSG_DONTWAIT); err == nil && string(b[:n]) == "x" {
				break
			} else if time.Now().After(end) {
				t.Errorf("%s: nothing arrives at %s: %v", network, to, err)
				break
			}
		}
		_ = c.Close()
	}
}

func portOf(a unix.Sockaddr) int {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return a.Port
	case *unix.SockaddrInet6:
		return a.Port
	}
	return 0
}

func portText(t *testing.T, at string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

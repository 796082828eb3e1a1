package frame

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// pair returns two ends of a socket.
func pair(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for n, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		if ends[n], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ends[n].Close() })
	}
	return ends[0], ends[1]
}

// Who reads rests before it waits, and not while there is something to read. A
// peer that answers only what it is sent in that moment gets it.
func TestSourceRests(t *testing.T) {
	for name, ends := range map[string]func() (net.Conn, net.Conn){
		"a socket": func() (net.Conn, net.Conn) { return pair(t) },
		"a pipe":   net.Pipe,
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := ends()
			asked := make(chan struct{}, 10)
			s := Source(ours, func() { asked <- struct{}{} })
			go func() {
				<-asked
				_, _ = theirs.Write([]byte("abc"))
			}()
			b := make([]byte, 2)
			if n, err := s.Read(b); n != 2 || err != nil {
				t.Fatalf("%d bytes, %v", n, err)
			}
			if name == "a pipe" {
				return // nobody knows whether there is more
			}
			rests := len(asked)
			if n, err := s.Read(b); n != 1 || err != nil {
				t.Fatalf("%d bytes, %v", n, err)
			}
			if len(asked) != rests {
				t.Error("it rested although there was something to read")
			}
		})
	}
}

package resource

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/resource/address"
)

const (
	tcpRows = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     8        0 4712 1 0000000000000000 100 0 0 10 0
`
	closedRow = "   2: 0100007F:1F90 0100007F:9C40 06 00000000:00000000 03:00000F00 00000000     0        0 0 3 0000000000000000\n"
)

// After the sockets that listen come the connections, of which there may be a
// hundred thousand: nobody waits for these.
func TestPortRows(t *testing.T) {
	a, err := address.Parse("tcp://127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	more := iotest.ErrReader(errors.New("read on"))
	table := io.MultiReader(strings.NewReader(tcpRows+closedRow), &mustNot{t, more})
	if got := portRows(table, a); len(got) != 1 || got[0] != (entry{inode: "4711", uid: "7"}) {
		t.Errorf("%+v", got)
	}
	a.Addr, _ = parseProcAddr("0100007F:1F92")
	if got := portRows(strings.NewReader(tcpRows+closedRow), a); len(got) != 0 {
		t.Errorf("of a free port: %+v", got)
	}
}

// The kernel tells of listeners by a request of its own: the same as its tables do.
func TestListeners(t *testing.T) {
	for want, others := range map[string][]string{
		"127.0.0.1:0": {"tcp://0.0.0.0:%d", "tcp://127.0.0.1:%d", "tcp://[::]:%d?v6only=0"},
		"[::]:0":      {"tcp://127.0.0.1:%d", "tcp://[::1]:%d"},
	} {
		var plain net.ListenConfig
		plain.SetMultipathTCP(false)
		l, err := plain.Listen(t.Context(), "tcp", want)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var inode uint64
		raw, err := l.(*net.TCPListener).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			var st unix.Stat_t
			if err := unix.Fstat(int(fd), &st); err != nil {
				t.Error(err)
			}
			inode = st.Ino
		})
		port := l.Addr().(*net.TCPAddr).Port
		for _, other := range others {
			a, err := address.Parse(fmt.Sprintf(other, port))
			if err != nil {
				t.Fatal(err)
			}
			var found []entry
			for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
				of, err := listeners(family, a)
				if err != nil {
					t.Fatalf("%+v: %v; without it the tables in /proc/net are read", a, err)
				}
				found = append(found, of...)
			}
			if want := (entry{inode: fmt.Sprint(inode), uid: fmt.Sprint(os.Getuid())}); len(found) != 1 || found[0] != want {
				t.Errorf("in the way of %+v: %+v, want %+v", a, found, want)
			}
			if got := portEntries(a); !slices.Equal(got, found) {
				t.Errorf("in the way of %+v: %+v", a, got)
			}
		}
		a, _ := address.Parse(fmt.Sprintf("tcp://127.0.0.2:%d", port))
		if of, err := listeners(unix.AF_INET, a); err != nil || len(of) != 0 {
			t.Errorf("in the way of another address: %+v, %v", of, err)
		}
	}
}

// mustNot is not to be read.
type mustNot struct {
	t *testing.T
	io.Reader
}

func (m *mustNot) Read(b []byte) (int, error) {
	m.t.Error("the connections are read")
	return m.Reader.Read(b)
}

package resource

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

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

// mustNot is not to be read.
type mustNot struct {
	t *testing.T
	io.Reader
}

func (m *mustNot) Read(b []byte) (int, error) {
	m.t.Error("the connections are read")
	return m.Reader.Read(b)
}

package letter

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

var update = flag.Bool("update", false, "write the golden files")

func TestWrite(t *testing.T) {
	id, err := wire.ParseID("01890a5d-ac96-774b-bcce-b302099a8057")
	if err != nil {
		t.Fatal(err)
	}
	late := &wire.Error{Code: wire.DeadlineExceeded, Message: "no answer", Instance: "exec.bill", Version: "1.0.0"}
	at := time.Date(2025, 1, 2, 3, 4, 5, 6000, time.UTC)
	full := wire.Event{ID: id, Type: "http.orders.request", Source: "n1/http.orders", Subject: "o-1", Time: at.UnixNano(),
		Correlation: id, Causation: id, Traceparent: "00-1-2-03", Data: []byte(`{"total":12}`)}
	for name, c := range map[string]struct {
		change   func(*wire.Event)
		attempts []observe.Attempt
	}{
		"full":        {func(*wire.Event) {}, []observe.Attempt{{Attempt: 1, Time: at, Err: late}, {Attempt: 2, Time: at.Add(time.Second), Err: late}}},
		"no_attempts": {func(e *wire.Event) { *e = wire.Event{ID: id, Type: "a.b", Time: at.UnixNano(), Correlation: id} }, nil},
		"not_json":    {func(e *wire.Event) { e.ContentType, e.Data = "text/plain", []byte("hello") }, nil},
		"bad_json":    {func(e *wire.Event) { e.Data = []byte("{") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e := full
			c.change(&e)
			b, bad := Write(&e, "bill", late, c.attempts)
			if bad != nil {
				t.Fatal(bad)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, b, "", "  "); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			file := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", got.Bytes(), want)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	e := wire.Event{ContentType: "application/octet-stream", Data: make([]byte, wire.MaxEvent)} // a third more as base64
	if b, err := Write(&e, "bill", &wire.Error{}, nil); b != nil || err == nil || err.Code != wire.Internal {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	e = wire.Event{}
	if b, err := Write(&e, "bill", &wire.Error{Details: []byte("not JSON")}, nil); b != nil || err == nil {
		t.Errorf("%s, %v", b, err)
	}
}

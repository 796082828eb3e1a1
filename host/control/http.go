package control

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// jsonCodec is connect's JSON with the names of control.proto, which are those
// of the command line, and with the fields that are zero. A field that does not
// exist is an error, since people write requests by hand.
type jsonCodec struct{ name string }

// Name implements connect.Codec.
func (c jsonCodec) Name() string { return c.name }

// Marshal implements connect.Codec.
func (jsonCodec) Marshal(m any) ([]byte, error) {
	p, ok := m.(proto.Message)
	if !ok {
		return nil, errors.New("not a message")
	}
	return protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(p)
}

// Unmarshal implements connect.Codec.
func (jsonCodec) Unmarshal(b []byte, m any) error {
	p, ok := m.(proto.Message)
	if !ok {
		return errors.New("not a message")
	}
	if len(b) == 0 {
		return errors.New("no JSON: the smallest request is {}")
	}
	return protojson.Unmarshal(b, p)
}

// readFirst reads a request to its end before anybody answers it, so that a
// client that sends slowly, or too much, costs a bounded time and memory.
func readFirst(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Now().Add(bodyLimit)) // a connection that cannot do it has ended
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest+1<<10))
		if err != nil {
			status, text := http.StatusRequestTimeout, `{"code":"deadline_exceeded","message":"the request did not come in time"}`
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				status, text = http.StatusRequestEntityTooLarge, `{"code":"resource_exhausted","message":"the request is too large"}`
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
			return
		}
		_ = rc.SetReadDeadline(time.Time{})
		r.Body = io.NopCloser(bytes.NewReader(b))
		next.ServeHTTP(w, r)
	})
}

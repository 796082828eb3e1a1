package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// curl --unix-socket PATH -H 'Content-Type: application/json' -d BODY http://host/…
func curl(t *testing.T, path, method, body string) (int, map[string]any) {
	t.Helper()
	r, err := plain(path).Post("http://host/host.control.v1.Control/"+method, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v: %s", r.Status, err, b)
	}
	return r.StatusCode, v
}

func TestJSONHasTheNamesOfTheCommandLine(t *testing.T) {
	id := wire.NewID()
	path, _ := serve(t, &fake{
		status: observe.Status{Light: observe.Green, Generation: 7, ConfigDir: "/etc/host",
			Instances: []observe.Instance{{Address: "probe.a", InFlight: 3}}},
		emit: func(_ context.Context, e EmitRequest) (EmitResult, error) {
			if e.Type != "probe.a.said" {
				return EmitResult{}, &wire.Error{Code: wire.NotFound, Message: "no instance emits " + e.Type}
			}
			return EmitResult{ID: id, Value: e.Data}, nil
		},
	})
	code, s := curl(t, path, "Status", `{}`)
	if code != http.StatusOK || s["light"] != "green" || s["generation"] != "7" || s["config_dir"] != "/etc/host" {
		t.Errorf("%d %v", code, s)
	}
	in := s["instances"].([]any)[0].(map[string]any)
	if in["address"] != "probe.a" || in["in_flight"] != "3" || in["restarts"] != "0" {
		t.Errorf("%v", in)
	}
	if r, ok := s["routes"].([]any); !ok || len(r) != 0 {
		t.Errorf("an empty list is %v", s["routes"])
	}
	code, e := curl(t, path, "Emit", `{"type":"probe.a.said","data":"{\"text\":\"x\"}","timeout_ns":"1000000000"}`)
	if code != http.StatusOK || e["id"] != id.String() || e["value"] != `{"text":"x"}` {
		t.Errorf("%d %v", code, e)
	}
	for body, want := range map[string]struct {
		status int
		text   string
	}{
		`{"type":"probe.a.sad"}`:         {http.StatusNotFound, "no instance emits probe.a.sad"},
		`{"type":`:                       {http.StatusBadRequest, "EOF"},
		`{"typ":"probe.a.said"}`:         {http.StatusBadRequest, `unknown field "typ"`},
		``:                               {http.StatusBadRequest, "{}"},
		`{"type":1}`:                     {http.StatusBadRequest, "type"},
		"{\"type\":\"\xff\xfe broken\"}": {http.StatusBadRequest, "UTF-8"},
	} {
		if code, v := curl(t, path, "Emit", body); code != want.status || !strings.Contains(v["message"].(string), want.text) {
			t.Errorf("%s: %d %v", body, code, v)
		}
	}
}

func TestRequestsAreBounded(t *testing.T) {
	got := make(chan int, 10)
	path, _ := serve(t, &fake{
		emit: func(_ context.Context, e EmitRequest) (EmitResult, error) { return EmitResult{ID: wire.NewID()}, nil },
		tail: func(_ context.Context, backlog int, _ func(*observe.Entry) bool, _ func(observe.Entry) error) error {
			got <- backlog
			return nil
		},
	})
	c := dial(t, path)
	large := json.RawMessage(`"` + strings.Repeat("x", maxRequest) + `"`)
	if _, err := c.Emit(t.Context(), EmitRequest{Type: "a", Data: large}); err == nil {
		t.Error("a request that is too large was taken over HTTP/2")
	}
	if code, v := curl(t, path, "Emit", `{"data":`+string(large)+`}`); code == http.StatusOK || v["code"] != "resource_exhausted" {
		t.Errorf("a request that is too large: %d %v", code, v)
	}
	if _, err := c.Emit(t.Context(), EmitRequest{Type: "a", Data: json.RawMessage(`1`)}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := c.Tail(t.Context(), 1<<31, false, Filter{}, func(observe.Entry) error { return nil }); err != nil {
		t.Error(err)
	}
	if n := within(t, "the tail", got); n != maxBacklog {
		t.Errorf("a backlog of %d", n)
	}
}

// A client that says nothing, or half of something, is let go.
func TestSlowSendersAreLetGo(t *testing.T) {
	path, _ := serve(t, &fake{})
	ended := make(chan string, 2)
	for _, start := range []string{"", "POST /host.control.v1.Control/Status HTTP/1.1\r\nHost: host\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{"} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, start); err != nil {
			t.Fatal(err)
		}
		go func() {
			b, _ := io.ReadAll(c)
			ended <- string(b)
		}()
	}
	for range 2 {
		if b := within(t, "the end of the connection", ended); b != "" && !strings.Contains(b, "did not come in time") {
			t.Errorf("it was answered: %s", b)
		}
	}
}

// A client that does not read holds nobody else, nor the end.
func TestSlowReadersHoldNobody(t *testing.T) {
	full := make(chan struct{}, 1)
	path, stop := serve(t, &fake{
		status: observe.Status{Generation: 1},
		tail: func(_ context.Context, _ int, _ func(*observe.Entry) bool, f func(observe.Entry) error) error {
			for n := uint64(0); ; n++ {
				stuck := time.AfterFunc(200*time.Millisecond, func() {
					select {
					case full <- struct{}{}:
					default:
					}
				})
				err := f(event(n))
				stuck.Stop()
				if err != nil {
					return err
				}
			}
		},
		reload: func(_ context.Context, progress func(apply.Progress)) (apply.Result, error) {
			for range 100_000 { // far more than anybody buffers
				progress(apply.Progress{Phase: apply.Verify, Message: strings.Repeat("x", 1000)})
			}
			return apply.Result{Outcome: apply.Committed, Generation: 2}, nil
		},
	})
	c := dial(t, path)
	blocked := make(chan struct{})
	defer close(blocked)
	go func() {
		_ = c.Tail(context.Background(), 0, true, Filter{}, func(observe.Entry) error {
			<-blocked
			return errors.New("enough")
		})
	}()
	within(t, "the tail is stuck", full)
	if s, err := dial(t, path).Status(t.Context()); err != nil || s.Generation != 1 {
		t.Errorf("beside it: %+v, %v", s, err)
	}
	r, err := dial(t, path).Reload(t.Context(), apply.Request{}, func(apply.Progress) {})
	if err != nil || r.Generation != 2 {
		t.Errorf("a reload with a lot of progress: %+v, %v", r, err)
	}
	stop()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("the socket is still there")
	}
}

// Ending a call ends what it asked for.
func TestCancelledCalls(t *testing.T) {
	began, ended := make(chan string, 3), make(chan string, 3)
	block := func(ctx context.Context, what string) error {
		began <- what
		<-ctx.Done()
		ended <- what
		return ctx.Err()
	}
	path, _ := serve(t, &fake{
		reload: func(ctx context.Context, _ func(apply.Progress)) (apply.Result, error) {
			return apply.Result{}, block(ctx, "reload")
		},
		emit: func(ctx context.Context, _ EmitRequest) (EmitResult, error) { return EmitResult{}, block(ctx, "emit") },
		tail: func(ctx context.Context, _ int, _ func(*observe.Entry) bool, _ func(observe.Entry) error) error {
			return block(ctx, "tail")
		},
	})
	c := dial(t, path)
	for what, call := range map[string]func(context.Context) error{
		"reload": func(ctx context.Context) error { _, err := c.Reload(ctx, apply.Request{}, nil); return err },
		"emit":   func(ctx context.Context) error { _, err := c.Emit(ctx, EmitRequest{Type: "a"}); return err },
		"tail": func(ctx context.Context) error {
			return c.Tail(ctx, 0, true, Filter{}, func(observe.Entry) error { return nil })
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		returned := make(chan error, 1)
		go func() { returned <- call(ctx) }()
		if got := within(t, what+" begins", began); got != what {
			t.Errorf("%s began as %s", what, got)
		}
		cancel()
		within(t, what+" ends at the daemon", ended)
		if err := within(t, what+" returns", returned); (err == nil) != (what == "tail") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	if _, err := dial(t, socketPath(t)).Status(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody is there: %v", err)
	}
	path, stop := serve(t, &fake{})
	c := dial(t, path)
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("it has ended: %v", err)
	}
	for _, addr := range []string{"", "/path", "tcp://127.0.0.1:1", "unix://relative", "http://host"} {
		if _, err := Dial(addr); err == nil {
			t.Errorf("%q is taken for an address", addr)
		}
	}
}

package control

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// fake is a backend that does what a test wants.
type fake struct {
	status  observe.Status
	reload  func(context.Context, func(apply.Progress)) (apply.Result, error)
	emit    func(context.Context, EmitRequest) (EmitResult, error)
	tail    func(context.Context, int, func(*observe.Entry) bool, func(observe.Entry) error) error
	plugins []catalog.Entry
	settle  func(SettleRequest) error
	story   func(StoryRequest) (Story, error)
	dead    DeadList
	replay  func(ReplayRequest) ([]observe.Replayed, error)
}

func (f *fake) Settle(_ context.Context, s SettleRequest) error        { return f.settle(s) }
func (f *fake) Story(_ context.Context, s StoryRequest) (Story, error) { return f.story(s) }
func (f *fake) Dead(context.Context) (DeadList, error)                 { return f.dead, nil }
func (f *fake) Replay(_ context.Context, r ReplayRequest) ([]observe.Replayed, error) {
	return f.replay(r)
}

func (f *fake) Status(context.Context) (observe.Status, error)   { return f.status, nil }
func (f *fake) Plugins(context.Context) ([]catalog.Entry, error) { return f.plugins, nil }
func (f *fake) Plan(context.Context, time.Duration, func(apply.Progress)) (apply.Result, error) {
	return apply.Result{}, nil
}
func (f *fake) Confirm(context.Context) (uint64, error)                   { return 0, nil }
func (f *fake) Generations(context.Context) (Generations, error)          { return Generations{}, nil }
func (f *fake) Emit(c context.Context, e EmitRequest) (EmitResult, error) { return f.emit(c, e) }
func (f *fake) Reload(c context.Context, _ apply.Request, p func(apply.Progress)) (apply.Result, error) {
	return f.reload(c, p)
}
func (f *fake) Tail(c context.Context, n int, match func(*observe.Entry) bool, to func(observe.Entry) error) error {
	return f.tail(c, n, match, to)
}

// socketPath returns a short path for a socket whose directory does not exist yet.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "run", "host.sock")
}

// serve serves a backend and returns its socket and what ends it.
func serve(t *testing.T, b Backend) (path string, stop func()) {
	t.Helper()
	path = socketPath(t)
	s := NewServer(hclog.NewNullLogger())
	if err := s.Listen(path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, b) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("Run did not return")
		}
	})
	t.Cleanup(stop)
	return path, stop
}

func dial(t *testing.T, path string) *Client {
	t.Helper()
	c, err := Dial("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// plain is an HTTP/1 client on the socket, as curl --unix-socket is.
func plain(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}}}
}

// within waits for something that takes no time unless it is broken.
func within[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(time.Minute):
		t.Fatalf("%s: not within a minute", what)
	}
	return v
}

func event(n uint64) observe.Entry {
	return observe.Entry{Seq: n, Time: time.Now(), Step: observe.Emitted, Event: wire.NewID(), Type: "probe.a.said"}
}

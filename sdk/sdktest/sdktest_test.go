package sdktest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/sdktest"
)

// judged is a test whose failures are looked at rather than reported.
type judged struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	cleanups []func()
}

func (j *judged) Helper()          {}
func (j *judged) Log(...any)       {}
func (j *judged) Cleanup(f func()) { j.cleanups = append(j.cleanups, f) }
func (j *judged) Errorf(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failures = append(j.failures, fmt.Sprintf(format, args...))
}
func (j *judged) Error(args ...any)                 { j.Errorf("%s", fmt.Sprint(args...)) }
func (j *judged) Fatalf(format string, args ...any) { j.Errorf(format, args...); panic(j) }
func (j *judged) Fatal(args ...any)                 { j.Fatalf("%s", fmt.Sprint(args...)) }
func (j *judged) FailNow()                          { panic(j) }

// judge runs a test and its cleanup and returns its failures.
func judge(t *testing.T, test func(testing.TB)) []string {
	t.Helper()
	j := &judged{TB: t}
	func() {
		defer func() {
			if v := recover(); v != nil && v != any(j) {
				panic(v)
			}
		}()
		test(j)
	}()
	for i := len(j.cleanups) - 1; i >= 0; i-- {
		j.cleanups[i]()
	}
	return j.failures
}

func wants(t *testing.T, failures []string, want string) {
	t.Helper()
	if !strings.Contains(strings.Join(failures, "\n"), want) {
		t.Errorf("the failures are %q; wanted %q", failures, want)
	}
}

var do = sdk.Action[struct{}, struct{}]("do", "Does it.")

// doing is a plugin whose only action does f.
func doing(f func(context.Context) error, in sdk.Instance) sdk.Plugin[struct{}] {
	return sdk.Plugin[struct{}]{Name: "doing", Version: "1.0.0", Actions: sdk.Actions{do},
		New: func(context.Context, struct{}, *sdk.Env) (*sdk.Instance, error) {
			in.Handlers = sdk.Handlers{do.Handle(func(ctx context.Context, _ struct{}) (struct{}, error) { return struct{}{}, f(ctx) })}
			return &in, nil
		}}
}

func TestAnUncleanPluginFailsItsTest(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	leak := func(context.Context) error {
		go func() { <-release }()
		return nil
	}
	wants(t, judge(t, func(tb testing.TB) { sdktest.Start(tb, doing(leak, sdk.Instance{}), nil).Call("do", nil) }), "goroutines of the plugin are left")

	failing := sdk.Instance{Run: func(context.Context) error { return errors.New("no more paper") }}
	ok := func(context.Context) error { return nil }
	wants(t, judge(t, func(tb testing.TB) {
		p := sdktest.Start(tb, doing(ok, failing), nil).Process()
		for p.Alive() {
			time.Sleep(time.Millisecond)
		}
	}), "doing.test: run: no more paper")

	// A delivery in flight when the plugin ends is lost.
	started := make(chan struct{})
	end := make(chan struct{})
	stuck := func(context.Context) error { close(started); <-release; return nil }
	wants(t, judge(t, func(tb testing.TB) {
		in := sdktest.Start(tb, doing(stuck, sdk.Instance{Run: func(context.Context) error { <-end; return errors.New("gone") }}), nil)
		d := in.Deliver("do", nil)
		<-started
		close(end)
		if _, err := d.Wait(); err == nil || err.Reason != "crashed" {
			t.Errorf("its outcome is %v", err)
		}
	}), "a delivery to doing.test.do was lost")

	bad := doing(ok, sdk.Instance{})
	bad.Version = "v1"
	wants(t, judge(t, func(tb testing.TB) { sdktest.New(tb, bad) }), "semantic version")
	wants(t, judge(t, func(tb testing.TB) { sdktest.Start(tb, shout(), sdktest.Config{"prefx": "x"}) }), `there is no attribute "prefx"`)
	wants(t, judge(t, func(tb testing.TB) { sdktest.Start(tb, shout(), nil).Call("sing", nil) }), `no action "sing"`)
	wants(t, judge(t, func(tb testing.TB) { sdktest.Start(tb, shout(), nil).Next("sung") }), `no event "sung"`)
	if f := judge(t, func(tb testing.TB) { sdktest.Start(tb, doing(ok, sdk.Instance{}), nil).Call("do", nil) }); len(f) > 0 {
		t.Errorf("a clean plugin: %q", f)
	}
}

func TestWaitGivesTheErrorOfRun(t *testing.T) {
	in := sdktest.Start(t, doing(func(context.Context) error { return nil }, sdk.Instance{
		Run: func(context.Context) error { return errors.New("no more paper") }}), nil)
	if err := in.Process().Wait(); err == nil || err.Error() != "doing.test: run: no more paper" {
		t.Errorf("it ended with %v", err)
	}
}

func TestKill(t *testing.T) {
	ended := make(chan struct{})
	in := sdktest.Start(t, doing(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		sdk.Instance{Run: func(ctx context.Context) error { <-ctx.Done(); close(ended); return nil }}), nil)
	d := in.Deliver("do", nil)
	in.Process().Kill()
	if _, err := d.Wait(); err == nil || err.Code != sdk.Unavailable || !err.Retryable {
		t.Errorf("what was in flight: %v", err)
	}
	<-ended
}

func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := sdktest.Start(t, doing(func(ctx context.Context) error {
			select {
			case <-time.After(time.Hour):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, sdk.Instance{}), nil)
		begin := time.Now()
		_, err := in.Call("do", nil, func(e *sdk.EventInfo) { e.Deadline = begin.Add(30 * time.Second).UnixNano() })
		if err == nil || err.Code != sdk.DeadlineExceeded || time.Since(begin) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

type opened struct {
	Listen net.Listener   `host:"listen"`
	Packet net.PacketConn `host:"packet"`
	Dir    *os.File       `host:"dir" access:"directory"`
	Rules  []struct {
		File *os.File      `host:"file,required"`
		Wait time.Duration `host:"wait" default:"1s"`
	} `host:"rules"`
	Token sdk.Secret `host:"token"`
}

func TestDescriptors(t *testing.T) {
	got := make(chan opened, 1)
	p := sdk.Plugin[opened]{Name: "opens", Version: "1.0.0",
		Verify: func(_ context.Context, c opened, progress func(string, int)) error {
			progress("looking", 50)
			if c.Listen != nil || c.Dir != nil {
				return errors.New("descriptors in Verify")
			}
			if c.Token == "" {
				return &sdk.AttrError{Attribute: "token", Err: errors.New("it is needed")}
			}
			return nil
		},
		New: func(_ context.Context, c opened, _ *sdk.Env) (*sdk.Instance, error) {
			got <- c
			return &sdk.Instance{}, nil
		}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	path := filepath.Join(t.TempDir(), "rule")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()

	s := sdktest.New(t, p)
	config := sdktest.Config{"listen": l, "packet": u, "dir": d, "token": sdk.Secret("x"),
		"rules": sdktest.List{sdktest.Config{"file": f, "wait": time.Minute}}}
	diagnostics, progress := s.Verify(config)
	if len(diagnostics) > 0 || len(progress) != 1 || progress[0] != "looking" {
		t.Errorf("%v, %v", diagnostics, progress)
	}
	if diagnostics, _ := s.Verify(nil); len(diagnostics) != 1 || diagnostics[0].Attribute != "token" || diagnostics[0].Summary != "it is needed" {
		t.Errorf("%+v", diagnostics)
	}
	in := s.Start(config)
	c := <-got
	if c.Listen.Addr().String() != l.Addr().String() || c.Packet.LocalAddr().String() != u.LocalAddr().String() || c.Rules[0].Wait != time.Minute {
		t.Errorf("%+v", c)
	}
	b := make([]byte, 5)
	if _, err := c.Rules[0].File.Read(b); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	// A connection to the plugin's listener, which the test holds too.
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if a, err := c.Listen.Accept(); err != nil {
		t.Error(err)
	} else {
		a.Close()
	}
	in.Drain(time.Second)
	if _, err := c.Listen.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the drain the listener is open: %v", err)
	}
	if _, err := c.Rules[0].File.Read(b); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after the drain the file is open: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	if _, err := l.(*net.TCPListener).SyscallConn(); err != nil {
		t.Errorf("the test's own listener: %v", err)
	}
}

func TestReplies(t *testing.T) {
	p := shout()
	p.New = func(_ context.Context, _ Config, env *sdk.Env) (*sdk.Instance, error) {
		return &sdk.Instance{Handlers: sdk.Handlers{say.Handle(func(ctx context.Context, l Line) (out Line, err error) {
			v, err := said.Emit(ctx, env, l).Wait(ctx)
			if err == nil {
				err = v.Into(&out)
			}
			return out, err
		})}}, nil
	}
	in := sdktest.Start(t, p, nil)
	first := in.Deliver("say", Line{"one"})
	in.Next("said").Reject(sdktest.Unrouted())
	if _, err := first.Wait(); err == nil || err.Reason != "unrouted" || err.Code != sdk.NotFound {
		t.Errorf("rejected: %v", err)
	}
	in.Reply("said", func(e *sdktest.Emitted) (any, error) {
		var l Line
		if e.Into(&l); l.Text == "bad" {
			return nil, errors.New("no")
		}
		return Line{l.Text + l.Text}, nil
	})
	if v, err := in.Call("say", Line{"two"}); err != nil || string(v) != `{"text":"twotwo"}` {
		t.Errorf("%s, %v", v, err)
	}
	if _, err := in.Call("say", Line{"bad"}); err == nil || err.Code != sdk.Unknown {
		t.Errorf("%v", err)
	}
}

// The plugin of the example, which stands alone in its file so that go doc and
// its like show all of it.
func TestShout(t *testing.T) {
	in := sdktest.Start(t, shout(), sdktest.Config{"prefix": "! "})
	value, err := in.Call("say", Line{Text: "hello"}, func(e *sdk.EventInfo) { e.Subject = "greeting" })
	if err != nil || string(value) != `{"text":"! HELLO"}` {
		t.Errorf("%s, %v", value, err)
	}
	e := in.Next("said")
	if string(e.Event.Data) != `{"text":"! HELLO"}` || e.Event.Type != "shout.test.said" || e.Event.Causation.IsZero() || e.Event.Correlation != e.Event.Causation {
		t.Errorf("%+v", e.Event)
	}
	if _, err := in.Call("say", Line{}); err == nil || err.Code != sdk.InvalidArgument {
		t.Errorf("an empty line: %v", err)
	}
	if _, err := in.Call("say", "text"); err == nil || err.Code != sdk.InvalidArgument {
		t.Errorf("a string in place of an object: %v", err)
	}
	in.Call("say", Line{Text: "again"})
	if got := in.Emitted("said"); len(got) != 1 {
		t.Errorf("%d events", len(got))
	}
}

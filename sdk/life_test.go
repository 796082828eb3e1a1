package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/sdktest"
	"github.com/pluginhost/host/sdk/wire"
)

// TestMain is the plugin where a test starts it as one, by hand.
func TestMain(m *testing.M) {
	switch os.Getenv("SDK_TEST_PLUGIN") {
	case "shout":
		sdk.Serve(shout())
	case "nonsense":
		sdk.Serve(sdk.Plugin[struct{}]{Name: "Nonsense", Version: "1"})
	}
	os.Exit(m.Run())
}

func TestStartedByHand(t *testing.T) {
	for plugin, want := range map[string][]string{
		"shout":    {"is the plugin shout 1.0.0 for host: Speaks up.", "put it into the plugin directory", "host plugins show shout"},
		"nonsense": {`"Nonsense" is not a plugin name`, `"1" is not a semantic version`},
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SDK_TEST_PLUGIN="+plugin)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || len(out) > 0 {
			t.Errorf("%s: %v, %q", plugin, err, out)
		}
		for _, w := range want {
			if !strings.Contains(stderr.String(), w) {
				t.Errorf("%s: %q", plugin, stderr.String())
			}
		}
	}
}

var (
	do      = sdk.Action[json.RawMessage, json.RawMessage]("do", "Does it.")
	another = sdk.Action[struct{}, struct{}]("another", "")
	happens = sdk.Event[json.RawMessage]("happens", "It happens.")
)

// made is a plugin whose New gives an instance.
func made(f func(env *sdk.Env) (*sdk.Instance, error)) sdk.Plugin[struct{}] {
	return sdk.Plugin[struct{}]{Name: "made", Version: "1.0.0", Actions: sdk.Actions{do, another}, Events: sdk.Events{happens},
		New: func(_ context.Context, _ struct{}, env *sdk.Env) (*sdk.Instance, error) { return f(env) }}
}

type handler = func(context.Context, json.RawMessage) (json.RawMessage, error)

func handling(f handler) sdk.Plugin[struct{}] {
	return made(func(*sdk.Env) (*sdk.Instance, error) { return &sdk.Instance{Handlers: sdk.Handlers{do.Handle(f)}}, nil })
}

func TestPanics(t *testing.T) {
	s := sdktest.New(t, handling(func(_ context.Context, in json.RawMessage) (json.RawMessage, error) {
		if string(in) == `"panic"` {
			panic("no more paper")
		}
		return in, nil
	}))
	in := s.Start(nil)
	_, err := in.Call("do", "panic")
	if err == nil || err.Code != sdk.Internal || err.Reason != "panic" || err.Retryable || !strings.Contains(err.Message, "no more paper") ||
		!strings.Contains(string(err.Details), "TestPanics") {
		t.Errorf("%+v %s", err, err.Details)
	}
	if v, err := in.Call("do", "fine"); err != nil || string(v) != `"fine"` {
		t.Errorf("the next: %s, %v", v, err)
	}

	p := made(func(*sdk.Env) (*sdk.Instance, error) { panic("in New") })
	p.Verify = func(context.Context, struct{}, func(string, int)) error { panic("in Verify") }
	q := sdktest.New(t, p)
	if d, _ := q.Verify(nil); len(d) != 1 || d[0].Summary != "panic in Verify: in Verify" || d[0].Detail == "" {
		t.Errorf("%+v", d)
	}
	if in, d := q.Prepare(nil); in != nil || len(d) != 1 || !strings.Contains(d[0].Summary, "panic in New: in New") {
		t.Errorf("%+v", d)
	}

	committed := make(chan struct{}) // the process ends with the panic, answered or not
	run := sdktest.Start(t, made(func(*sdk.Env) (*sdk.Instance, error) {
		return &sdk.Instance{Run: func(context.Context) error { <-committed; panic("in Run") }}, nil
	}), nil)
	close(committed)
	if err := run.Process().Wait(); err == nil || !strings.Contains(err.Error(), "panic in Run: in Run") {
		t.Errorf("%v", err)
	}

	// One that panics when it ends does not take the others with it.
	ending := sdktest.New(t, made(func(*sdk.Env) (*sdk.Instance, error) {
		return &sdk.Instance{OnDrain: func(context.Context) { panic("in OnDrain") }, Close: func() error { panic("in Close") }}, nil
	}))
	a, b := ending.Start(nil), ending.Start(nil)
	a.Drain(time.Minute)
	b.Drain(time.Minute)
	if !ending.Alive() {
		t.Error("the process has ended")
	}
}

func TestWhatNewReturns(t *testing.T) {
	var closed atomic.Int32
	closing := func(in sdk.Instance) func(*sdk.Env) (*sdk.Instance, error) {
		in.Close = func() error { closed.Add(1); return nil }
		return func(*sdk.Env) (*sdk.Instance, error) { return &in, nil }
	}
	undeclared := sdk.Action[struct{}, struct{}]("undeclared", "")
	none := func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil }
	for want, f := range map[string]func(*sdk.Env) (*sdk.Instance, error){
		"returned no instance":            func(*sdk.Env) (*sdk.Instance, error) { return nil, nil },
		"no such printer":                 func(*sdk.Env) (*sdk.Instance, error) { return nil, errors.New("no such printer") },
		"undeclared is handled and not":   closing(sdk.Instance{Handlers: sdk.Handlers{undeclared.Handle(none)}}),
		"action another has two handlers": closing(sdk.Instance{Handlers: sdk.Handlers{another.Handle(none), another.Handle(none)}}),
	} {
		if in, d := sdktest.New(t, made(f)).Prepare(nil); in != nil || len(d) != 1 || !strings.Contains(d[0].Summary, want) {
			t.Errorf("%+v, wanted %s", d, want)
		}
	}
	if n := closed.Load(); n != 2 {
		t.Errorf("%d of 2 refused instances were closed", n)
	}
	// An action that an instance does not handle is answered.
	in := sdktest.Start(t, made(closing(sdk.Instance{})), nil)
	if _, err := in.Call("another", nil); err == nil || err.Code != sdk.Unimplemented {
		t.Errorf("%v", err)
	}
}

func TestErrorsOfHandlers(t *testing.T) {
	type odd struct{ error }
	errs := map[string]error{
		`"typed"`:   &sdk.Error{Code: sdk.NotFound, Reason: "no_order", Message: "no", Details: json.RawMessage(`{"a":1}`)},
		`"wrapped"`: odd{errors.Join(errors.New("outer"), sdk.Errorf(sdk.Unavailable, "later"))},
		`"plain"`:   errors.New("plain"),
		`"no code"`: &sdk.Error{Message: "none"},
		`"ctx"`:     context.DeadlineExceeded,
		`"long"`:    errors.New(strings.Repeat("x", 100_000)),
		`"bytes"`:   errors.New("bad \xff bytes"),
	}
	in := sdktest.Start(t, handling(func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return nil, errs[string(in)] }), nil)
	call := func(name string) *sdk.Error {
		_, err := in.Call("do", name)
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		return err
	}
	if e := call("typed"); e.Code != sdk.NotFound || e.Reason != "no_order" || string(e.Details) != `{"a":1}` {
		t.Errorf("%+v", e)
	}
	if e := call("plain"); e.Code != sdk.Unknown || e.Message != "plain" || e.Retryable {
		t.Errorf("%+v", e)
	}
	if e := call("no code"); e.Code != sdk.Unknown {
		t.Errorf("%+v", e)
	}
	if e := call("ctx"); e.Code != sdk.DeadlineExceeded {
		t.Errorf("%+v", e)
	}
	if e := call("long"); len(e.Message) > 9000 {
		t.Errorf("%d bytes", len(e.Message))
	}
	if e := call("bytes"); e.Message != "bad \uFFFD bytes" {
		t.Errorf("%q", e.Message)
	}
	_ = call("wrapped")
}

func TestValueTooLarge(t *testing.T) {
	in := sdktest.Start(t, handling(func(context.Context, json.RawMessage) (json.RawMessage, error) {
		return make(json.RawMessage, wire.MaxEvent+1), nil
	}), nil)
	if _, err := in.Call("do", nil); err == nil || err.Code != sdk.ResourceExhausted {
		t.Errorf("%v", err)
	}
}

// An instance emits between commit and the end of its drain, and at no other
// time.
func TestEmitOutsideOfItsTime(t *testing.T) {
	var env *sdk.Env
	s := sdktest.New(t, made(func(e *sdk.Env) (*sdk.Instance, error) { env = e; return &sdk.Instance{}, nil }))
	emit := func() *sdk.Error {
		_, err := happens.Emit(t.Context(), env, nil).Wait(t.Context())
		var e *sdk.Error
		errors.As(err, &e)
		return e
	}
	in, _ := s.Prepare(nil)
	if e := emit(); e == nil || e.Code != sdk.FailedPrecondition {
		t.Errorf("before the commit: %v", e)
	}
	in.Commit()
	in.Reply("happens", func(*sdktest.Emitted) (any, error) { return nil, nil })
	if e := emit(); e != nil {
		t.Errorf("%v", e)
	}
	unknown := sdk.Event[int]("unknown", "")
	if _, err := unknown.Emit(t.Context(), env, 1).Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "not declared") {
		t.Errorf("%v", err)
	}
	if err := happens.Emit(t.Context(), env, make(json.RawMessage, wire.MaxEvent+1)).Accepted(t.Context()); err == nil || !strings.Contains(err.Error(), "4194305 bytes") {
		t.Errorf("%v", err)
	}
	in.Drain(time.Second)
	if e := emit(); e == nil || e.Code != sdk.FailedPrecondition {
		t.Errorf("after the drain: %v", e)
	}
	in, _ = s.Prepare(nil)
	in.Abort()
	if e := emit(); e == nil || e.Code != sdk.FailedPrecondition {
		t.Errorf("after an abort: %v", e)
	}
}

// Emit blocks while 1,024 events are unaccepted, until one is or ctx ends.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var env *sdk.Env
		in := sdktest.Start(t, made(func(e *sdk.Env) (*sdk.Instance, error) { env = e; return &sdk.Instance{}, nil }), nil, sdktest.HoldAccepts())
		for range wire.EmitWindow {
			happens.Emit(t.Context(), env, nil)
		}
		time.Sleep(time.Second) // what nobody waits for is gathered for a moment
		all := in.Emitted("happens")
		if len(all) != wire.EmitWindow {
			t.Fatalf("%d events", len(all))
		}
		// Many give up; they leave nothing behind.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var waiting sync.WaitGroup
		for range 100 {
			waiting.Go(func() {
				if err := happens.Emit(ctx, env, nil).Accepted(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("without room: %v", err)
				}
			})
		}
		waiting.Wait()
		var got atomic.Bool
		waiting.Go(func() {
			happens.Emit(t.Context(), env, json.RawMessage(`"more"`))
			got.Store(true)
		})
		synctest.Wait()
		if got.Load() {
			t.Error("Emit did not block")
		}
		all[0].Accept()
		waiting.Wait()
		time.Sleep(time.Second)
		if more := in.Emitted("happens"); len(more) != 1 || string(more[0].Event.Data) != `"more"` {
			t.Errorf("%d more", len(more))
		}
		for _, e := range all {
			e.Resolve(nil) // a settle alone is an accept too
		}
	})
}

func TestCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		p := made(func(*sdk.Env) (*sdk.Instance, error) {
			return &sdk.Instance{Credit: 3, Handlers: sdk.Handlers{do.Handle(func(context.Context, json.RawMessage) (json.RawMessage, error) {
				if n := running.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(time.Second)
				running.Add(-1)
				return nil, nil
			})}}, nil
		})
		in := sdktest.Start(t, p, nil)
		var all []*sdktest.Delivery
		for range 10 {
			all = append(all, in.Deliver("do", nil))
		}
		for _, d := range all {
			if _, err := d.Wait(); err != nil {
				t.Error(err)
			}
		}
		if most.Load() != 3 {
			t.Errorf("%d at once", most.Load())
		}
	})
}

// A drain finishes what is in flight; Run ends after it, then Close.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var story []string
		note := func(s string) { mu.Lock(); story = append(story, s); mu.Unlock() }
		p := made(func(env *sdk.Env) (*sdk.Instance, error) {
			return &sdk.Instance{
				Run:     func(ctx context.Context) error { <-ctx.Done(); note("run"); return ctx.Err() },
				OnDrain: func(context.Context) { note("drain") },
				Close:   func() error { note("close"); return errors.New("a warning") },
				Handlers: sdk.Handlers{do.Handle(func(ctx context.Context, _ json.RawMessage) (json.RawMessage, error) {
					select {
					case <-time.After(10 * time.Second):
						note("handled")
						return nil, happens.Emit(ctx, env, nil).Accepted(ctx)
					case <-ctx.Done():
						note("given up")
						return nil, ctx.Err()
					}
				})},
			}, nil
		})
		s := sdktest.New(t, p)
		in := s.Start(nil)
		d := in.Deliver("do", nil)
		synctest.Wait() // the lane and the control plane are two connections
		if n := in.Drain(time.Minute); n != 0 {
			t.Errorf("%d given up", n)
		}
		if _, err := d.Wait(); err != nil {
			t.Error(err)
		}
		if got := strings.Join(story, " "); got != "drain handled run close" {
			t.Errorf("%s", got)
		}
		story = nil
		in = s.Start(nil)
		d = in.Deliver("do", nil)
		synctest.Wait()
		begin := time.Now()
		if n := in.Drain(5 * time.Second); n != 1 {
			t.Errorf("%d given up", n)
		}
		if took := time.Since(begin); took > 8*time.Second {
			t.Errorf("it took %v", took)
		}
		if _, err := d.Wait(); err == nil || err.Code != sdk.Canceled {
			t.Errorf("%v", err)
		}
	})
}

// A handler that does not heed its ctx settles late, and blocks nobody else.
func TestHandlerThatOutlivesItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := sdktest.Start(t, handling(func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
			if string(in) == `"deaf"` {
				time.Sleep(time.Minute / 2)
				if ctx.Err() == nil {
					t.Error("its ctx has not ended")
				}
			}
			return in, nil
		}), nil)
		deadline := time.Now().Add(time.Second).UnixNano()
		deaf := in.Deliver("do", "deaf", func(e *sdk.EventInfo) { e.Deadline = deadline })
		if v, err := in.Call("do", "other"); err != nil || string(v) != `"other"` {
			t.Errorf("%s, %v", v, err)
		}
		if v, err := deaf.Wait(); err != nil || string(v) != `"deaf"` {
			t.Errorf("%s, %v", v, err)
		}
	})
}

func TestLineage(t *testing.T) {
	p := made(func(env *sdk.Env) (*sdk.Instance, error) {
		return &sdk.Instance{Handlers: sdk.Handlers{do.Handle(func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
			happens.Emit(ctx, env, in, sdk.Subject("s"), sdk.ContentType("text/plain"))
			happens.Emit(context.Background(), env, in, sdk.TraceContext("tp", "ts"))
			return nil, nil
		})}}, nil
	})
	in := sdktest.Start(t, p, nil)
	cause, first := wire.NewID(), wire.NewID()
	deadline := time.Now().Add(time.Hour).UnixNano()
	if _, err := in.Call("do", 1, func(e *sdk.EventInfo) {
		e.ID, e.Correlation, e.Traceparent, e.Tracestate, e.Deadline = cause, first, "00-x", "a=b", deadline
	}); err != nil {
		t.Fatal(err)
	}
	e := in.Next("happens").Event
	if e.Causation != cause || e.Correlation != first || e.Traceparent != "00-x" || e.Tracestate != "a=b" || e.Deadline != deadline ||
		e.Subject != "s" || e.ContentType != "text/plain" || e.ID.IsZero() || e.Time == 0 {
		t.Errorf("%+v", e)
	}
	e = in.Next("happens").Event
	if !e.Causation.IsZero() || e.Correlation != e.ID || e.Traceparent != "tp" || e.Tracestate != "ts" || e.Deadline != 0 {
		t.Errorf("%+v", e)
	}
}

func TestDetachedDelivery(t *testing.T) {
	p := made(func(env *sdk.Env) (*sdk.Instance, error) {
		return &sdk.Instance{Handlers: sdk.Handlers{
			do.Handle(func(ctx context.Context, _ json.RawMessage) (json.RawMessage, error) {
				_, err := sdk.Defer(ctx)
				return nil, err
			}),
		}}, nil
	})
	in := sdktest.Start(t, p, nil)
	d := in.Deliver("do", nil)
	token := d.Token()
	if err := in.Process().Settle(token, "later", nil); err != nil {
		t.Error(err)
	}
	if v, err := d.Wait(); err != nil || string(v) != `"later"` {
		t.Errorf("%s, %v", v, err)
	}
	if err := in.Process().Settle(token, nil, nil); err == nil || err.Reason != "already_settled" {
		t.Errorf("%v", err)
	}
	if err := in.Process().Settle("guess", nil, nil); err == nil || err.Reason != "unknown_token" {
		t.Errorf("%v", err)
	}
}

// A handler that has detached its delivery and then lets it follow a promise is
// taken at its word.
func TestDetachedDeliveryFollows(t *testing.T) {
	p := made(func(env *sdk.Env) (*sdk.Instance, error) {
		return &sdk.Instance{Handlers: sdk.Handlers{
			do.Handle(func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
				p := happens.Emit(ctx, env, in)
				if string(in) == `"settled"` {
					_, _ = p.Wait(ctx)
				}
				if _, err := sdk.Defer(ctx); err != nil {
					return nil, err
				}
				return nil, sdk.Follow(p)
			}),
		}}, nil
	})
	in := sdktest.Start(t, p, nil)
	for _, when := range []string{"pending", "settled"} {
		d := in.Deliver("do", when)
		in.Next("happens").Resolve("as the promise")
		if v, err := d.Wait(); err != nil || string(v) != `"as the promise"` {
			t.Errorf("%s: %s, %v", when, v, err)
		}
		d = in.Deliver("do", when)
		in.Next("happens").Reject(&sdk.Error{Code: sdk.Aborted, Message: "no"})
		if v, err := d.Wait(); err == nil || err.Code != sdk.Aborted {
			t.Errorf("%s, rejected: %s, %v", when, v, err)
		}
	}
	if n := in.Drain(30 * time.Second); n != 0 {
		t.Errorf("%d were given up", n)
	}
}

// What a handler gets and returns is what was sent, whatever it is.
func FuzzRoundTrip(f *testing.F) {
	f.Add("o-1", int64(12), true, []byte("x"))
	f.Add("\xff\x00\u2028<>", int64(-1<<62), false, []byte{})
	type data struct {
		Text  string            `json:"text"`
		N     int64             `json:"n"`
		Flag  bool              `json:"flag,omitempty"`
		Bytes []byte            `json:"bytes"`
		Map   map[string]string `json:"map"`
	}
	same := sdk.Action[data, data]("same", "")
	f.Fuzz(func(t *testing.T, text string, n int64, flag bool, b []byte) {
		in := sdktest.Start(t, sdk.Plugin[struct{}]{Name: "same", Version: "1.0.0", Actions: sdk.Actions{same},
			New: func(context.Context, struct{}, *sdk.Env) (*sdk.Instance, error) {
				return &sdk.Instance{Handlers: sdk.Handlers{same.Handle(func(_ context.Context, d data) (data, error) { return d, nil })}}, nil
			}}, nil)
		text = strings.ToValidUTF8(text, "?") // JSON has no other
		sent := data{text, n, flag, b, map[string]string{text: text}}
		want, err := json.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		got, failed := in.Call("same", sent)
		if failed != nil {
			t.Fatal(failed)
		}
		if string(got) != string(want) {
			t.Errorf("%s\nwanted %s", got, want)
		}
	})
}

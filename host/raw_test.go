package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"

	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// The plugin proberaw speaks the contract itself, without the SDK, so that it
// can break it. Its action do answers everything twice; its action attack does
// to others what its input names, and resolves with what host said to that.

type raw struct {
	lane *wire.Lane

	mu      sync.Mutex
	handles []uint32
	next    uint64
	answers map[uint64]chan *wire.Error // by promise
	late    chan *wire.Error            // settles that came back
	trace   string                      // of the last event for the action do
}

func serveRaw() {
	f := os.NewFile(wire.LaneFD, "lane")
	conn, err := net.FileConn(f)
	if err != nil {
		os.Exit(3)
	}
	_ = f.Close()
	r := &raw{lane: wire.NewLane(conn), answers: map[uint64]chan *wire.Error{}, late: make(chan *wire.Error, 1024)}
	ended := make(chan error, 1)
	go func() {
		ended <- r.lane.Run(context.Background(), wire.Handler{
			Accept: func(uint64) error { return nil },
			Settle: r.settled, Deliver: r.deliver,
			Cancel: func(uint64, uint32, wire.Cause) error { return nil },
		})
	}()
	go plugin.Serve(&plugin.ServeConfig{HandshakeConfig: rpc.Handshake(), Plugins: rpc.PluginSet(r), GRPCServer: rpc.GRPCServer})
	<-ended
	os.Exit(0)
}

func (r *raw) Describe(context.Context) (*schema.Manifest, error) {
	_, version, _ := strings.Cut(filepath.Base(os.Args[0]), "-")
	any := schema.Type{Kind: schema.Any}
	return &schema.Manifest{Name: "proberaw", Version: version, Events: []schema.Event{{Name: "said", Data: any}},
		Actions: []schema.Action{{Name: "do", Input: any, Output: any}, {Name: "attack", Input: any, Output: any}}}, nil
}
func (r *raw) Verify(context.Context, rpc.Instance, func(rpc.Progress)) ([]schema.Diagnostic, error) {
	return nil, nil
}
func (r *raw) Prepare(context.Context, rpc.Instance) ([]schema.Diagnostic, error) { return nil, nil }
func (r *raw) Commit(_ context.Context, handle uint32) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handles = append(r.handles, handle)
	return r.lane.Credit(handle, 16)
}
func (r *raw) Abort(context.Context, uint32) error           { return nil }
func (r *raw) Pause(context.Context, uint32, []string) error { return nil }
func (r *raw) Drain(context.Context, uint32, time.Duration) (int, error) {
	return 0, nil
}

func (r *raw) settled(s *wire.Settle) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Attempt > 0 {
		select {
		case r.late <- s.Err:
		default:
		}
		return nil
	}
	if c := r.answers[s.Ref]; c != nil {
		c <- s.Err
		delete(r.answers, s.Ref)
	}
	return nil
}

func (r *raw) deliver(d *wire.Deliver) error {
	c := *d
	c.Event.Data = append([]byte(nil), d.Event.Data...)
	if d.Action == 1 {
		go r.attack(&c)
		return nil
	}
	r.mu.Lock()
	r.trace = strings.Clone(d.Event.Traceparent) + " " + strings.Clone(d.Event.Tracestate)
	r.mu.Unlock()
	for range 2 {
		if err := r.lane.Settle(&wire.Settle{Ref: d.Delivery, Attempt: d.Attempt, Value: c.Event.Data}); err != nil {
			return err
		}
	}
	return r.lane.Credit(d.Instance, 1)
}

// ask sends something with a promise and returns host's answer to it.
func (r *raw) ask(send func(promise uint64) error) string {
	r.mu.Lock()
	r.next++
	promise, answer := r.next, make(chan *wire.Error, 1)
	r.answers[promise] = answer
	r.mu.Unlock()
	if err := send(promise); err != nil {
		return err.Error()
	}
	return text(answer)
}

func text(answer chan *wire.Error) string {
	select {
	case err := <-answer:
		if err == nil {
			return "taken"
		}
		return err.Code.String() + " " + err.Reason
	case <-time.After(30 * time.Second):
		return "no answer"
	}
}

// attack does what the event's data names and answers with what became of it.
func (r *raw) attack(d *wire.Deliver) {
	var in struct{ How, Token string }
	_ = json.Unmarshal(d.Event.Data, &in)
	own := d.Instance
	emit := func(e wire.Event, handle uint32) string {
		e.ID = wire.NewID()
		e.Data = []byte(`{}`)
		return r.ask(func(p uint64) error { return r.lane.Emit(&wire.Emit{Promise: p, Instance: handle, Event: e}) })
	}
	late := func(ref uint64, attempt uint32) string {
		if err := r.lane.Settle(&wire.Settle{Ref: ref, Attempt: attempt, Value: []byte(`"stolen"`)}); err != nil {
			return err.Error()
		}
		return text(r.late)
	}
	redeem := func(token string) string {
		return r.ask(func(p uint64) error {
			return r.lane.Settle(&wire.Settle{Ref: p, Instance: own, Token: token, Value: []byte(`"stolen"`)})
		})
	}
	got := "?"
	switch in.How {
	case "source":
		got = emit(wire.Event{Source: "n1/probe.a"}, own)
	case "type":
		got = emit(wire.Event{Type: "probe.a.said"}, own)
	case "own": // what host would say of it anyway
		node, _, _ := strings.Cut(d.Event.Source, "/")
		got = emit(wire.Event{Type: "proberaw.evil.said", Source: node + "/proberaw.evil"}, own)
	case "handle":
		got = emit(wire.Event{}, own+77)
	case "delivery":
		got = late(uint64(own)<<40|999_999, 1)
	case "seat":
		got = late(uint64(own+77)<<40|1, 1)
	case "attempt":
		got = late(d.Delivery, d.Attempt+1)
	case "detach":
		got = r.ask(func(p uint64) error { return r.lane.Detach(p, uint64(own)<<40|999_999, 1) })
	case "token":
		got = redeem("AAAAAAAAAAAAAAAAAAAAAAAAAA")
	case "replay":
		got = redeem(in.Token)
	case "trace":
		if got = emit(wire.Event{Traceparent: in.Token, Tracestate: "evil=1"}, own); got == "taken" {
			r.mu.Lock()
			got = r.trace
			r.mu.Unlock()
		}
	case "promise": // of another instance: numbers are each source's own
		_ = r.lane.Withdraw(1, own)
		got = "nothing"
	case "flood":
		for range 500 {
			got = redeem("BBBBBBBBBBBBBBBBBBBBBBBBBB")
		}
	}
	value, _ := json.Marshal(got)
	_ = r.lane.Settle(&wire.Settle{Ref: d.Delivery, Attempt: d.Attempt, Value: value})
	_ = r.lane.Credit(own, 1)
}

// Whoever acts in the name of another is refused, and that is counted, told and
// written to the log, at a rate that fills neither.
func TestIdentityComesFromTheLane(t *testing.T) {
	d := run(t, setup(t, `
plugin "probe" "a" {}
plugin "probedesk" "victim" { process = { isolation = "instance" } }
plugin "proberaw" "evil" { process = { isolation = "instance" } }
route "attack" {
  from = probe.a.said
  to   = proberaw.evil.attack
}
route "own" {
  from = proberaw.evil.said
  to   = proberaw.evil.do
}
route "seek" {
  from = probedesk.victim.sub
  to   = probedesk.victim.seek
}
route "note" {
  from = probedesk.victim.asked
  to   = probedesk.victim.note
}
`, "probe-1.0.0", "probedesk-1.0.0", "proberaw-1.0.0"))
	// A delivery of the victim's waits for its token.
	held := make(chan control.EmitResult, 1)
	go func() {
		r, _ := d.Emit(t.Context(), control.EmitRequest{Type: "probedesk.victim.sub", Data: json.RawMessage(`{"text":"x"}`), Timeout: 30 * time.Second})
		held <- r
	}()
	token := d.state("probedesk.victim", "token")
	attack := func(how, used string) string {
		t.Helper()
		r := d.emit("probe.a.said", fmt.Sprintf(`{"text":"","how":%q,"token":%q}`, how, used))
		var got string
		if r.Err != nil || json.Unmarshal(r.Value, &got) != nil {
			t.Errorf("%s: %+v", how, r)
		}
		return got
	}
	forged := 0
	for how, want := range map[string]string{
		"source": "permission_denied forged", "type": "permission_denied forged", "handle": "permission_denied forged",
		"delivery": "permission_denied forged", "seat": "permission_denied forged", "detach": "permission_denied forged",
		"token": "not_found unknown_token",
	} {
		if got := attack(how, ""); got != want {
			t.Errorf("%s: %s, want %s", how, got, want)
		}
		if how != "handle" && how != "seat" { // of no instance at all
			forged++
		}
	}
	if got := attack("attempt", ""); got != "aborted stale_attempt" {
		t.Errorf("another attempt: %s", got)
	}
	// A trace context decides nothing, and is carried on only when it is one.
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if got := attack("trace", trace); got != trace+" evil=1" {
		t.Errorf("a trace context arrives as %q", got)
	}
	for _, bad := range []string{"00-evil", trace + "\r\nX-Admin: 1", strings.Repeat("0", 4096)} {
		if got := attack("trace", bad); got != " " {
			t.Errorf("a trace context %.40q arrives as %q", bad, got)
		}
	}
	attack("promise", "")
	if in := d.instance("proberaw.evil"); in.Refused != uint64(forged) || in.State != "ready" {
		t.Errorf("after %d attempts: %+v", forged, in)
	}
	told := func() (n int) {
		_ = d.Tail(t.Context(), 20_000, false, control.Filter{}, func(e observe.Entry) error {
			if e.Step == observe.Refused && e.Instance == "proberaw.evil" {
				n++
			}
			return nil
		})
		return n
	}
	if n := told(); n != forged {
		t.Errorf("the recorder tells of %d of %d", n, forged)
	}
	if !strings.Contains(d.log.String(), "refused to act as somebody else") {
		t.Error("the log says nothing")
	}
	// The victim's delivery waits still, and its owner settles it once.
	if len(held) > 0 {
		t.Fatalf("the victim's delivery was settled: %+v", <-held)
	}
	if err := d.Settle(t.Context(), control.SettleRequest{Token: token, Value: []byte(`"mine"`)}); err != nil {
		t.Fatal(err)
	}
	if r := <-held; string(r.Value) != `"mine"` {
		t.Errorf("the victim's delivery: %+v", r)
	}
	if got := attack("replay", token); got != "failed_precondition already_settled" {
		t.Errorf("a used token: %s", got)
	}
	if got := attack("own", ""); got != "taken" {
		t.Errorf("an event that says of itself what is true: %s", got)
	}
	before := told()
	attack("flood", "")
	if n := told() - before; n > 100 {
		t.Errorf("a flood of 500 made %d entries", n)
	}
	if in := d.instance("proberaw.evil"); in.Refused != uint64(forged+500) {
		t.Errorf("after a flood of 500: %d refused, want %d", in.Refused, forged+500)
	}
	d.ledger()
}

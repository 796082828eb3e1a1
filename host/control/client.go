package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/control/internal/controlpb"
	"github.com/pluginhost/host/host/control/internal/controlpb/controlpbconnect"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// ErrUnreachable says that no daemon answers.
var ErrUnreachable = errors.New("no daemon answers")

// Client asks a daemon. Its methods are those of Backend.
type Client struct {
	addr string
	http *http.Client
	api  controlpbconnect.ControlClient
}

// Dial returns a client for an address of the form unix:///PATH. It does not
// connect yet.
func Dial(addr string) (*Client, error) {
	path, ok := strings.CutPrefix(addr, "unix://")
	if !ok || !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%q is not the address of a daemon, such as unix:///run/host/host.sock", addr)
	}
	transport := &http.Transport{Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: 5 * time.Second}
			return d.DialContext(ctx, "unix", path)
		}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	c := &Client{addr: addr, http: &http.Client{Transport: transport}}
	// Nothing is compressed: it would take both ends longer than the socket does.
	c.api = controlpbconnect.NewControlClient(c.http, "http://host", connect.WithReadMaxBytes(4*maxRequest), connect.WithAcceptCompression("gzip", nil, nil))
	return c, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status implements Backend.
func (c *Client) Status(ctx context.Context) (observe.Status, error) {
	var s observe.Status
	r, err := c.api.Status(ctx, connect.NewRequest(&controlpb.StatusRequest{}))
	if err != nil {
		return s, c.explain(err)
	}
	return s, fromProto(&s, r.Msg)
}

// Metrics returns all metrics in the text form of Prometheus.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://host/metrics", nil)
	if err != nil {
		return nil, err
	}
	r, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(connect.NewError(connect.CodeUnavailable, err))
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(r.Body, 4*maxRequest))
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("the daemon has no metrics now: %s: %.200s", r.Status, b)
	}
	return b, err
}

// Plugins implements Backend.
func (c *Client) Plugins(ctx context.Context) ([]catalog.Entry, error) {
	r, err := c.api.Plugins(ctx, connect.NewRequest(&controlpb.PluginsRequest{}))
	if err != nil {
		return nil, c.explain(err)
	}
	var p pluginList
	err = fromProto(&p, r.Msg)
	return p.Plugins, err
}

// Plan implements Backend.
func (c *Client) Plan(ctx context.Context, hold time.Duration, progress func(apply.Progress)) (apply.Result, error) {
	stream, err := c.api.Plan(ctx, connect.NewRequest(&controlpb.PlanRequest{HoldNs: int64(hold)}))
	return c.streamed(stream, err, progress)
}

// Reload implements Backend. Without progress the daemon sends the result only.
func (c *Client) Reload(ctx context.Context, req apply.Request, progress func(apply.Progress)) (apply.Result, error) {
	m := &controlpb.ReloadRequest{Return: req.Return, To: req.To, Wait: req.Wait, ConfirmNs: int64(req.Confirm), Quiet: progress == nil}
	if req.Plan != nil {
		m.Plan = &controlpb.Held{}
		toProto(m.Plan, req.Plan)
	}
	stream, err := c.api.Reload(ctx, connect.NewRequest(m))
	return c.streamed(stream, err, progress)
}

func (c *Client) streamed(stream *connect.ServerStreamForClient[controlpb.ReloadResponse], err error, progress func(apply.Progress)) (apply.Result, error) {
	var result apply.Result
	if err != nil {
		return result, c.explain(err)
	}
	defer func() { _ = stream.Close() }()
	for stream.Receive() {
		m := stream.Msg()
		if m.GetProgress() != nil && progress != nil {
			var p apply.Progress
			if err := fromProto(&p, m.GetProgress()); err != nil {
				return result, err
			}
			progress(p)
		}
		if m.GetResult() != nil {
			return result, fromProto(&result, m.GetResult())
		}
	}
	if err := stream.Err(); err != nil {
		return result, c.explain(err)
	}
	return result, errors.New("the daemon ended before the reload did; host generations says what became of it")
}

// Confirm implements Backend.
func (c *Client) Confirm(ctx context.Context) (uint64, error) {
	r, err := c.api.Confirm(ctx, connect.NewRequest(&controlpb.ConfirmRequest{}))
	if err != nil {
		return 0, c.explain(err)
	}
	return r.Msg.GetGeneration(), nil
}

// Generations implements Backend.
func (c *Client) Generations(ctx context.Context) (Generations, error) {
	var g Generations
	r, err := c.api.Generations(ctx, connect.NewRequest(&controlpb.GenerationsRequest{}))
	if err != nil {
		return g, c.explain(err)
	}
	return g, fromProto(&g, r.Msg)
}

// Emit implements Backend.
func (c *Client) Emit(ctx context.Context, e EmitRequest) (EmitResult, error) {
	var result EmitResult
	r, err := c.api.Emit(ctx, connect.NewRequest(&controlpb.EmitRequest{Type: e.Type, Subject: e.Subject,
		Data: string(e.Data), TimeoutNs: int64(e.Timeout)}))
	if err != nil {
		return result, c.explain(err)
	}
	return result, fromProto(&result, r.Msg)
}

// Filter says which steps to see; the zero Filter means all.
type Filter struct {
	Type   string  // of the event, or how it begins: http.orders
	Event  wire.ID // zero for all
	Failed bool    // steps with an error only
}

// Tail passes recent steps of events and, with follow, new ones until ctx ends
// or f fails.
func (c *Client) Tail(ctx context.Context, backlog int, follow bool, filter Filter, f func(observe.Entry) error) error {
	stream, err := c.api.Tail(ctx, connect.NewRequest(&controlpb.TailRequest{Backlog: uint32(backlog),
		Type: filter.Type, Event: filter.Event.String(), Failed: filter.Failed, Follow: follow}))
	if err != nil && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return c.explain(err)
	}
	defer func() { _ = stream.Close() }()
	for stream.Receive() {
		var e observe.Entry
		if err := fromProto(&e, stream.Msg()); err != nil {
			return err
		}
		if err := f(e); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return c.explain(stream.Err())
}

// explain makes an error that says what to do.
func (c *Client) explain(err error) error {
	if err == nil {
		return nil
	}
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return err
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w at %s: permission denied; only the daemon's own user and root may ask it", ErrUnreachable, c.addr)
	}
	var op *net.OpError
	if errors.As(err, &op) || ce.Code() == connect.CodeUnavailable && !connect.IsWireError(err) {
		return fmt.Errorf("%w at %s: start one with host run", ErrUnreachable, c.addr)
	}
	return errors.New(ce.Message())
}

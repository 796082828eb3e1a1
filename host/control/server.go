package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/control/internal/controlpb"
	"github.com/pluginhost/host/host/control/internal/controlpb/controlpbconnect"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

const (
	maxRequest   = 16 << 20 // bytes
	maxBacklog   = 100_000  // entries of a Tail
	headerLimit  = 5 * time.Second
	bodyLimit    = 10 * time.Second // until the request has come
	closeTimeout = 2 * time.Second
)

// Server serves the API on a unix socket.
type Server struct {
	log      hclog.Logger
	listener net.Listener
	metrics  http.Handler // of GET /metrics, or nil
	path     string
	lock     *os.File // of the directory, while this daemon lives
}

// NewServer returns a server that does not listen yet.
func NewServer(log hclog.Logger) *Server { return &Server{log: log} }

// ShowMetrics has GET /metrics answered by h. It comes before Run.
func (s *Server) ShowMetrics(h http.Handler) { s.metrics = h }

// Run answers with b until ctx ends, and removes the socket. Tails end then;
// other calls have until closeTimeout for their answers, which is enough where
// nothing is pending any more.
func (s *Server) Run(ctx context.Context, b Backend) error {
	defer func() { _ = s.lock.Close() }()
	mux := http.NewServeMux()
	path, api := controlpbconnect.NewControlHandler(&handler{backend: b, ending: ctx}, connect.WithReadMaxBytes(maxRequest),
		connect.WithSendMaxBytes(4*maxRequest), connect.WithCompression("gzip", nil, nil),
		connect.WithCodec(jsonCodec{"json"}), connect.WithCodec(jsonCodec{"json; charset=utf-8"}))
	mux.Handle(path, readFirst(api))
	if s.metrics != nil {
		mux.Handle("GET /metrics", s.metrics)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{Handler: mux, Protocols: protocols, ReadHeaderTimeout: headerLimit,
		BaseContext: func(net.Listener) context.Context { return base },
		ConnContext: withPeer,
		ErrorLog:    s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(s.listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	bounded, stop := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer stop()
	if err := server.Shutdown(bounded); err != nil {
		cancel()
		_ = server.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// handler translates calls.
type handler struct {
	backend Backend
	ending  context.Context // ends when the server is about to
}

func (h *handler) Status(ctx context.Context, _ *connect.Request[controlpb.StatusRequest]) (*connect.Response[controlpb.StatusResponse], error) {
	s, err := h.backend.Status(ctx)
	if err != nil {
		return nil, status(err)
	}
	m := &controlpb.StatusResponse{}
	toProto(m, s)
	return connect.NewResponse(m), nil
}

func (h *handler) Plugins(ctx context.Context, _ *connect.Request[controlpb.PluginsRequest]) (*connect.Response[controlpb.PluginsResponse], error) {
	entries, err := h.backend.Plugins(ctx)
	if err != nil {
		return nil, status(err)
	}
	m := &controlpb.PluginsResponse{}
	toProto(m, pluginList{entries})
	return connect.NewResponse(m), nil
}

// pluginList is PluginsResponse in Go.
type pluginList struct {
	Plugins []catalog.Entry `json:"plugins"`
}

func (h *handler) Plan(ctx context.Context, req *connect.Request[controlpb.PlanRequest], stream *connect.ServerStream[controlpb.ReloadResponse]) error {
	return streamed(stream, func(progress func(apply.Progress)) (apply.Result, error) {
		return h.backend.Plan(ctx, time.Duration(req.Msg.GetHoldNs()), progress)
	})
}

func (h *handler) Reload(ctx context.Context, req *connect.Request[controlpb.ReloadRequest], stream *connect.ServerStream[controlpb.ReloadResponse]) error {
	r := apply.Request{Return: req.Msg.GetReturn(), To: req.Msg.GetTo(), Wait: req.Msg.GetWait(),
		Confirm: time.Duration(req.Msg.GetConfirmNs())}
	if req.Msg.GetPlan() != nil {
		r.Plan = &apply.Held{}
		if err := fromProto(r.Plan, req.Msg.GetPlan()); err != nil {
			return status(err)
		}
	}
	return streamed(stream, func(progress func(apply.Progress)) (apply.Result, error) {
		if req.Msg.GetQuiet() {
			progress = nil
		}
		return h.backend.Reload(ctx, r, progress)
	})
}

// streamed sends progress from a goroutine of its own, then the result: a
// client that reads slowly misses lines, and does not hold the reload.
func streamed(stream *connect.ServerStream[controlpb.ReloadResponse], f func(func(apply.Progress)) (apply.Result, error)) error {
	lines := make(chan apply.Progress, 256)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for p := range lines {
			m := &controlpb.ReloadResponse{Progress: &controlpb.Progress{}}
			toProto(m.Progress, p)
			if stream.Send(m) != nil {
				break
			}
		}
		for range lines { // a client that is gone must not block anybody
		}
	}()
	r, err := f(func(p apply.Progress) {
		select {
		case lines <- p:
		default:
		}
	})
	close(lines)
	<-sent
	if err != nil {
		return status(err)
	}
	m := &controlpb.ReloadResponse{Result: &controlpb.ReloadResult{}}
	toProto(m.Result, r)
	return stream.Send(m)
}

func (h *handler) Confirm(ctx context.Context, _ *connect.Request[controlpb.ConfirmRequest]) (*connect.Response[controlpb.ConfirmResponse], error) {
	g, err := h.backend.Confirm(ctx)
	if err != nil {
		return nil, status(err)
	}
	return connect.NewResponse(&controlpb.ConfirmResponse{Generation: g}), nil
}

func (h *handler) Generations(ctx context.Context, _ *connect.Request[controlpb.GenerationsRequest]) (*connect.Response[controlpb.GenerationsResponse], error) {
	g, err := h.backend.Generations(ctx)
	if err != nil {
		return nil, status(err)
	}
	m := &controlpb.GenerationsResponse{}
	toProto(m, g)
	return connect.NewResponse(m), nil
}

func (h *handler) Emit(ctx context.Context, req *connect.Request[controlpb.EmitRequest]) (*connect.Response[controlpb.EmitResponse], error) {
	r, err := h.backend.Emit(ctx, EmitRequest{Type: req.Msg.GetType(), Subject: req.Msg.GetSubject(),
		Data: json.RawMessage(req.Msg.GetData()), Timeout: time.Duration(req.Msg.GetTimeoutNs())})
	if err != nil {
		return nil, status(err)
	}
	m := &controlpb.EmitResponse{}
	toProto(m, r)
	return connect.NewResponse(m), nil
}

func (h *handler) Tail(ctx context.Context, req *connect.Request[controlpb.TailRequest], stream *connect.ServerStream[controlpb.Entry]) error {
	match, err := filter(req.Msg)
	if err != nil {
		return status(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ending, cancel)()
	if !req.Msg.GetFollow() {
		cancel() // a tail whose ctx has ended gives the recent entries only
	}
	err = h.backend.Tail(ctx, int(min(req.Msg.GetBacklog(), maxBacklog)), match, func(e observe.Entry) error {
		m := &controlpb.Entry{}
		toProto(m, e)
		return stream.Send(m)
	})
	if ctx.Err() != nil {
		return nil
	}
	return status(err)
}

// filter makes a function of what a client wants to see.
func filter(r *controlpb.TailRequest) (func(*observe.Entry) bool, error) {
	var id wire.ID
	if s := r.GetEvent(); s != "" {
		var err error
		if id, err = wire.ParseID(s); err != nil {
			return nil, &wire.Error{Code: wire.InvalidArgument, Message: fmt.Sprintf("%q is not the id of an event", s)}
		}
	}
	kind := r.GetType()
	return func(e *observe.Entry) bool {
		return (id.IsZero() || e.Event == id) &&
			(kind == "" || e.Type == kind || strings.HasPrefix(e.Type, kind+".") || strings.HasPrefix(e.Type, kind+"[")) &&
			(!r.GetFailed() || e.Err != nil)
	}, nil
}

// status makes a connect error, whose code is the error's own.
func status(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := asWire(err); ok {
		return connect.NewError(connect.Code(e.Code), errors.New(e.Message))
	}
	if errors.Is(err, context.Canceled) {
		return connect.NewError(connect.CodeCanceled, err)
	}
	return connect.NewError(connect.CodeUnknown, err)
}

func asWire(err error) (e *wire.Error, ok bool) {
	ok = errors.As(err, &e)
	return e, ok
}

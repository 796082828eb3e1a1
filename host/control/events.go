package control

import (
	"context"

	"connectrpc.com/connect"

	"github.com/pluginhost/host/host/control/internal/controlpb"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// Both ends of the calls about events that are on their way or have died.

// refusal is SettleResponse in Go.
type refusal struct {
	Err *wire.Error `json:"error,omitempty"`
}

// replays is ReplayResponse in Go.
type replays struct {
	Replayed []observe.Replayed `json:"replayed"`
}

func (h *handler) Settle(ctx context.Context, req *connect.Request[controlpb.SettleRequest]) (*connect.Response[controlpb.SettleResponse], error) {
	var r SettleRequest
	if err := fromProto(&r, req.Msg); err != nil {
		return nil, status(&wire.Error{Code: wire.InvalidArgument, Message: err.Error()})
	}
	m := &controlpb.SettleResponse{}
	if err := h.backend.Settle(ctx, r); err != nil {
		e, ok := asWire(err)
		if !ok {
			return nil, status(err)
		}
		toProto(m, refusal{e})
	}
	return connect.NewResponse(m), nil
}

func (h *handler) Story(ctx context.Context, req *connect.Request[controlpb.StoryRequest]) (*connect.Response[controlpb.StoryResponse], error) {
	var r StoryRequest
	if err := fromProto(&r, req.Msg); err != nil {
		return nil, status(&wire.Error{Code: wire.InvalidArgument, Message: err.Error()})
	}
	s, err := h.backend.Story(ctx, r)
	if err != nil {
		return nil, status(err)
	}
	m := &controlpb.StoryResponse{}
	toProto(m, s)
	return connect.NewResponse(m), nil
}

func (h *handler) Dead(ctx context.Context, _ *connect.Request[controlpb.DeadRequest]) (*connect.Response[controlpb.DeadResponse], error) {
	d, err := h.backend.Dead(ctx)
	if err != nil {
		return nil, status(err)
	}
	m := &controlpb.DeadResponse{}
	toProto(m, d)
	return connect.NewResponse(m), nil
}

func (h *handler) Replay(ctx context.Context, req *connect.Request[controlpb.ReplayRequest]) (*connect.Response[controlpb.ReplayResponse], error) {
	var r ReplayRequest
	if err := fromProto(&r, req.Msg); err != nil {
		return nil, status(&wire.Error{Code: wire.InvalidArgument, Message: err.Error()})
	}
	done, err := h.backend.Replay(ctx, r)
	if err != nil {
		return nil, status(err)
	}
	m := &controlpb.ReplayResponse{}
	toProto(m, replays{done})
	return connect.NewResponse(m), nil
}

// Settle implements Backend.
func (c *Client) Settle(ctx context.Context, s SettleRequest) error {
	m := &controlpb.SettleRequest{}
	toProto(m, s)
	r, err := c.api.Settle(ctx, connect.NewRequest(m))
	if err != nil {
		return c.explain(err)
	}
	var no refusal
	if err := fromProto(&no, r.Msg); err != nil || no.Err == nil {
		return err
	}
	return no.Err
}

// Story implements Backend.
func (c *Client) Story(ctx context.Context, s StoryRequest) (Story, error) {
	var story Story
	m := &controlpb.StoryRequest{}
	toProto(m, s)
	r, err := c.api.Story(ctx, connect.NewRequest(m))
	if err != nil {
		return story, c.explain(err)
	}
	return story, fromProto(&story, r.Msg)
}

// Dead implements Backend.
func (c *Client) Dead(ctx context.Context) (DeadList, error) {
	var d DeadList
	r, err := c.api.Dead(ctx, connect.NewRequest(&controlpb.DeadRequest{}))
	if err != nil {
		return d, c.explain(err)
	}
	return d, fromProto(&d, r.Msg)
}

// Replay implements Backend.
func (c *Client) Replay(ctx context.Context, req ReplayRequest) ([]observe.Replayed, error) {
	m := &controlpb.ReplayRequest{}
	toProto(m, req)
	r, err := c.api.Replay(ctx, connect.NewRequest(m))
	if err != nil {
		return nil, c.explain(err)
	}
	var done replays
	return done.Replayed, fromProto(&done, r.Msg)
}

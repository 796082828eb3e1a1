package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire/internal/pb"
)

// maxDiagnostics bounds what a plugin may say of one configuration.
const maxDiagnostics = 256

// client is host's end of the control plane. It believes nothing that a plugin
// says without a check.
type client struct{ rpc pb.PluginClient }

func (c *client) Describe(ctx context.Context) (*schema.Manifest, error) {
	p, err := c.rpc.Describe(ctx, &pb.DescribeRequest{})
	if err != nil {
		return nil, fromStatus(err)
	}
	m, err := toManifest(p)
	if err == nil {
		err = m.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

func (c *client) Verify(ctx context.Context, in Instance, progress func(Progress)) ([]schema.Diagnostic, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the stream when it is left early
	defer cancel()
	stream, err := c.rpc.Verify(ctx, &pb.VerifyRequest{Instance: fromInstance(in)})
	if err != nil {
		return nil, fromStatus(err)
	}
	var diags []*pb.Diagnostic
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return toDiagnostics(diags)
		}
		if err != nil {
			return nil, fromStatus(err)
		}
		if d := e.GetDiagnostic(); d != nil {
			if diags = append(diags, d); len(diags) > maxDiagnostics {
				return toDiagnostics(diags)
			}
		}
		if p := e.GetProgress(); p != nil && progress != nil {
			progress(Progress{Message: p.GetMessage(), Percent: min(p.GetPercent(), 100)})
		}
	}
}

func (c *client) Prepare(ctx context.Context, in Instance) ([]schema.Diagnostic, error) {
	r, err := c.rpc.Prepare(ctx, &pb.PrepareRequest{Instance: fromInstance(in)})
	if err != nil {
		return nil, fromStatus(err)
	}
	return toDiagnostics(r.GetDiagnostics())
}

func (c *client) Commit(ctx context.Context, handle uint32) error {
	_, err := c.rpc.Commit(ctx, &pb.CommitRequest{Handle: handle})
	return fromStatus(err)
}

func (c *client) Abort(ctx context.Context, handle uint32) error {
	_, err := c.rpc.Abort(ctx, &pb.AbortRequest{Handle: handle})
	return fromStatus(err)
}

func (c *client) Pause(ctx context.Context, handle uint32, attributes []string) error {
	_, err := c.rpc.Pause(ctx, &pb.PauseRequest{Handle: handle, Attributes: attributes})
	return fromStatus(err)
}

func (c *client) Drain(ctx context.Context, handle uint32, timeout time.Duration) (int, error) {
	r, err := c.rpc.Drain(ctx, &pb.DrainRequest{Handle: handle, TimeoutMs: uint64(max(timeout, 0).Milliseconds())})
	if err != nil {
		return 0, fromStatus(err)
	}
	return int(r.GetUnfinished()), nil
}

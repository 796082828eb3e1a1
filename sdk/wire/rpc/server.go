package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/pluginhost/host/sdk/wire/internal/pb"
)

// server is the plugin's end of the control plane.
type server struct {
	pb.UnimplementedPluginServer
	impl Control
}

func (s *server) Describe(ctx context.Context, _ *pb.DescribeRequest) (*pb.Manifest, error) {
	m, err := s.impl.Describe(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return fromManifest(m), nil
}

func (s *server) Verify(in *pb.VerifyRequest, stream grpc.ServerStreamingServer[pb.VerifyEvent]) error {
	// A failed send means that nobody listens; the stream's context ends then.
	progress := func(p Progress) {
		_ = stream.Send(&pb.VerifyEvent{Event: &pb.VerifyEvent_Progress{
			Progress: &pb.Progress{Message: valid(p.Message), Percent: p.Percent}}})
	}
	diags, err := s.impl.Verify(stream.Context(), toInstance(in.GetInstance()), progress)
	if err != nil {
		return toStatus(err)
	}
	for _, d := range fromDiagnostics(diags) {
		if err := stream.Send(&pb.VerifyEvent{Event: &pb.VerifyEvent_Diagnostic{Diagnostic: d}}); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) Prepare(ctx context.Context, in *pb.PrepareRequest) (*pb.PrepareResponse, error) {
	diags, err := s.impl.Prepare(ctx, toInstance(in.GetInstance()))
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.PrepareResponse{Diagnostics: fromDiagnostics(diags)}, nil
}

func (s *server) Commit(ctx context.Context, in *pb.CommitRequest) (*pb.CommitResponse, error) {
	if err := s.impl.Commit(ctx, in.GetHandle()); err != nil {
		return nil, toStatus(err)
	}
	return &pb.CommitResponse{}, nil
}

func (s *server) Abort(ctx context.Context, in *pb.AbortRequest) (*pb.AbortResponse, error) {
	if err := s.impl.Abort(ctx, in.GetHandle()); err != nil {
		return nil, toStatus(err)
	}
	return &pb.AbortResponse{}, nil
}

func (s *server) Pause(ctx context.Context, in *pb.PauseRequest) (*pb.PauseResponse, error) {
	if err := s.impl.Pause(ctx, in.GetHandle(), in.GetAttributes()); err != nil {
		return nil, toStatus(err)
	}
	return &pb.PauseResponse{}, nil
}

// maxDrain keeps a timeout from overflowing.
const maxDrain = 24 * time.Hour

func (s *server) Drain(ctx context.Context, in *pb.DrainRequest) (*pb.DrainResponse, error) {
	timeout := time.Duration(min(in.GetTimeoutMs(), uint64(maxDrain.Milliseconds()))) * time.Millisecond
	n, err := s.impl.Drain(ctx, in.GetHandle(), timeout)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.DrainResponse{Unfinished: uint32(n)}, nil
}

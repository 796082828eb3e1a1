package rpc

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pluginhost/host/sdk/wire/internal/pb"
)

// NewServer returns a server of impl's control plane for a listener of the
// caller's, without go-plugin's handshake: for tests.
func NewServer(impl Control) *grpc.Server {
	s := GRPCServer(nil)
	pb.RegisterPluginServer(s, &server{impl: impl})
	return s
}

// Dial returns the client of such a server. Nothing is connected before the
// first call; end closes the connection.
func Dial(dial func(context.Context) (net.Conn, error)) (c Control, end func() error, err error) {
	conn, err := grpc.NewClient("passthrough:///plugin", append(DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }))...)
	if err != nil {
		return nil, nil, err
	}
	return &client{pb.NewPluginClient(conn)}, conn.Close, nil
}

package rpc

import (
	"context"
	"errors"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pluginhost/host/sdk/wire/internal/pb"
)

// What both ends agree on before the first call, in go-plugin's terms.
const (
	CookieKey       = "HOST_PLUGIN" // the environment variable that says who starts the process
	CookieValue     = "6f1c2a94-host-plugin"
	ProtocolVersion = 1
	PluginName      = "host" // of the only entry of the plugin set

	MaxMessage = 16 << 20 // bytes of one message of the control plane, either way
)

// Handshake is go-plugin's configuration of the handshake, the same at both ends.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{ProtocolVersion: ProtocolVersion, MagicCookieKey: CookieKey, MagicCookieValue: CookieValue}
}

// PluginSet is what go-plugin serves or dispenses. impl is nil for the client,
// which dispenses a Control under PluginName.
func PluginSet(impl Control) plugin.PluginSet {
	return plugin.PluginSet{PluginName: &ControlPlugin{Impl: impl}}
}

// GRPCServer makes the server of the control plane, for go-plugin's ServeConfig.
func GRPCServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage),
		grpc.InitialWindowSize(windowSize), grpc.InitialConnWindowSize(windowSize))...)
}

// DialOptions are those of the client, for go-plugin's ClientConfig.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithInitialWindowSize(windowSize), grpc.WithInitialConnWindowSize(windowSize),
	}
}

// windowSize is static so that gRPC neither estimates bandwidth nor pings.
const windowSize = 1 << 20

// ControlPlugin carries Control over go-plugin's gRPC connection.
type ControlPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	Impl Control // of the server
}

// GRPCServer implements plugin.GRPCPlugin.
func (p *ControlPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	if p.Impl == nil {
		return errors.New("no Control to serve")
	}
	pb.RegisterPluginServer(s, &server{impl: p.Impl})
	return nil
}

// GRPCClient implements plugin.GRPCPlugin; it returns a Control.
func (p *ControlPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return Control(&client{pb.NewPluginClient(c)}), nil
}

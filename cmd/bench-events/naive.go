package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The naive host is what one writes after reading go-plugin's examples, v1.8.0.
// As there, with default settings everywhere:
//
//   - plugin.NewClient with a handshake, a plugin set and a command, then
//     Client and Dispense; plugin.Serve with plugin.DefaultGRPCServer
//     (examples/grpc)
//   - from the plugin to the host the broker of examples/bidirectional: NextId
//     and AcceptAndServe with grpc.NewServer(opts...) in the host, Dial in the
//     plugin, one connection that all calls share
//   - a unary call for each event on each hop, bytes in a protobuf message
//
// What differs does not slow it: the service is written down by hand where the
// examples have it generated (same codec, same messages in bytes), logs are off,
// and only gRPC is allowed, which the examples end up with too. Nothing is tuned
// either: no windows, no buffers, no stream.

const naiveCookie = "BENCH_EVENTS_NAIVE"

var naiveHandshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: naiveCookie, MagicCookieValue: "yes"}

// endpoint is the service of both plugins and of the host: bytes in, bytes out.
type endpoint interface {
	Call(ctx context.Context, in []byte) ([]byte, error)
}

// naivePlugin is both plugins: with an order and the number of a broker's
// connection it is a source, with an event it is a sink.
type naivePlugin struct {
	plugin.NetRPCUnsupportedPlugin
}

func (naivePlugin) GRPCServer(broker *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&serviceDesc, &naiveServer{broker: broker})
	return nil
}

func (naivePlugin) GRPCClient(_ context.Context, broker *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return &naiveClient{c, broker}, nil
}

type naiveClient struct {
	conn   *grpc.ClientConn
	broker *plugin.GRPCBroker
}

func (c *naiveClient) Call(ctx context.Context, in []byte) ([]byte, error) {
	out := new(wrapperspb.BytesValue)
	err := c.conn.Invoke(ctx, "/bench.Endpoint/Call", &wrapperspb.BytesValue{Value: in}, out)
	return out.GetValue(), err
}

// serviceDesc is what protoc would generate.
var serviceDesc = grpc.ServiceDesc{
	ServiceName: "bench.Endpoint", HandlerType: (*endpoint)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.BytesValue)
		if err := decode(in); err != nil {
			return nil, err
		}
		out, err := srv.(endpoint).Call(ctx, in.GetValue())
		return &wrapperspb.BytesValue{Value: out}, err
	}}},
}

// naiveServer is a plugin's side.
type naiveServer struct{ broker *plugin.GRPCBroker }

// naiveOrder tells a plugin to be a source, and where the host listens.
type naiveOrder struct {
	Order  order
	Broker uint32
}

func (s *naiveServer) Call(ctx context.Context, in []byte) ([]byte, error) {
	if in[0] != '{' { // an event
		return answer, nil
	}
	var o naiveOrder
	if err := json.Unmarshal(in, &o); err != nil {
		return nil, err
	}
	conn, err := s.broker.Dial(o.Broker)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	host := &naiveClient{conn: conn}
	data := payload(o.Order.Size)
	r, err := drive(o.Order, func(int) error {
		_, err := host.Call(ctx, data)
		return err
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

func serveNaive() {
	plugin.Serve(&plugin.ServeConfig{HandshakeConfig: naiveHandshake, GRPCServer: plugin.DefaultGRPCServer,
		Plugins: plugin.PluginSet{"bench": naivePlugin{}}, Logger: hclog.NewNullLogger()})
}

// forward is the host's side: what a source calls goes to the sink.
type forward struct{ sink *naiveClient }

func (f forward) Call(ctx context.Context, in []byte) ([]byte, error) { return f.sink.Call(ctx, in) }

// naiveHost runs the host process: it takes orders from standard input.
func naiveHost() error {
	source, stop, err := naiveStart()
	defer stop()
	if err != nil {
		return err
	}
	sink, stop, err := naiveStart()
	defer stop()
	if err != nil {
		return err
	}
	orders := json.NewDecoder(os.Stdin)
	for {
		var o naiveOrder
		if err := orders.Decode(&o.Order); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		o.Broker = source.broker.NextId()
		served := make(chan *grpc.Server, 1)
		go source.broker.AcceptAndServe(o.Broker, func(opts []grpc.ServerOption) *grpc.Server {
			server := grpc.NewServer(opts...)
			server.RegisterService(&serviceDesc, forward{sink})
			served <- server
			return server
		})
		in, err := json.Marshal(o)
		if err != nil {
			return err
		}
		out, err := source.Call(context.Background(), in)
		if err != nil {
			return err
		}
		(<-served).Stop()
		if _, err := os.Stdout.Write(append(out, '\n')); err != nil {
			return err
		}
	}
}

func naiveStart() (c *naiveClient, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, func() {}, err
	}
	client := plugin.NewClient(&plugin.ClientConfig{HandshakeConfig: naiveHandshake, Plugins: plugin.PluginSet{"bench": naivePlugin{}},
		Cmd: exec.CommandContext(context.Background(), self), AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, Logger: hclog.NewNullLogger()})
	conn, err := client.Client()
	if err != nil {
		return nil, client.Kill, err
	}
	raw, err := conn.Dispense("bench")
	if err != nil {
		return nil, client.Kill, err
	}
	return raw.(*naiveClient), client.Kill, nil
}

package sdktest

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/wire/descriptor"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// Config is a configuration: the attributes by name, nested as in HCL. Besides
// what JSON has, a value may be a time.Duration, a sdk.Bytes, a sdk.Secret and,
// where the plugin wants a listener or file, a net.Listener, net.PacketConn or
// *os.File that the test opened and goes on to own: the plugin gets a
// descriptor of its own, as from host. Durations and sizes may also be written
// as in HCL: "10s", "64KiB".
type Config map[string]any

// List is a list of values such as those of Config.
type List []any

// instance makes the instance of the contract. config is a Config, or JSON as a
// string, []byte or json.RawMessage, or nil. Without descriptors none is passed.
func (s *Process) instance(config any, opts []Option, descriptors bool) (rpc.Instance, options) {
	s.t.Helper()
	o := options{address: s.manifest.Name + ".test", node: "test", dir: filepath.Join(s.temp, "config"), stateDir: filepath.Join(s.temp, "state", s.manifest.Name+".test")}
	for _, f := range opts {
		f(&o)
	}
	in := rpc.Instance{Address: o.address, Node: o.node, Generation: 1, Dir: o.dir, StateDir: o.stateDir}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		s.t.Fatalf("sdktest: %v", err)
	}
	switch c := config.(type) {
	case nil:
		in.Config = json.RawMessage("{}")
	case string:
		in.Config = json.RawMessage(c)
	case []byte:
		in.Config = c
	case json.RawMessage:
		in.Config = c
	case Config:
		leases := &in.Leases
		if !descriptors {
			leases = nil
		}
		plain, err := s.plain("", c, leases)
		if err == nil {
			in.Config, err = json.Marshal(plain)
		}
		if err != nil {
			s.t.Fatalf("sdktest: configuration: %v", err)
		}
	default:
		s.t.Fatalf("sdktest: a configuration is a sdktest.Config or JSON, not a %T", config)
	}
	return in, o
}

// plain is a value as JSON has it. Descriptors are sent to the plugin and become
// leases.
func (s *Process) plain(path string, v any, leases *[]rpc.Lease) (any, error) {
	switch x := v.(type) {
	case Config:
		out := map[string]any{}
		for k, v := range x {
			at := k
			if path != "" {
				at = path + "." + k
			}
			p, err := s.plain(at, v, leases)
			if err != nil {
				return nil, err
			}
			out[k] = p
		}
		return out, nil
	case List:
		out := []any{}
		for n, v := range x {
			p, err := s.plain(fmt.Sprintf("%s[%d]", path, n), v, leases)
			if err != nil {
				return nil, err
			}
			out = append(out, p)
		}
		return out, nil
	case time.Duration:
		return int64(x), nil
	case sdk.Secret:
		return string(x), nil
	case *os.File:
		return x.Name(), s.lease(path, x, leases)
	case net.Listener:
		return x.Addr().String(), s.lease(path, x, leases)
	case net.PacketConn:
		return x.LocalAddr().String(), s.lease(path, x, leases)
	}
	return v, nil
}

// lease sends a descriptor.
func (s *Process) lease(path string, v any, leases *[]rpc.Lease) error {
	c, ok := v.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%s: a %T has no descriptor", path, v)
	}
	s.mu.Lock()
	s.numbers++
	id := fmt.Sprintf("lease-%d", s.numbers)
	s.mu.Unlock()
	if leases == nil {
		return nil
	}
	if s.descriptors == nil {
		return fmt.Errorf("%s: the manifest has no listener and no file", path)
	}
	if err := descriptor.Send(s.descriptors, id, c); err != nil {
		return err
	}
	*leases = append(*leases, rpc.Lease{ID: id, Attribute: path})
	return nil
}

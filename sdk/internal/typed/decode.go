package typed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"reflect"
	"sort"
	"strings"
	"text/template"
	"time"

	"github.com/pluginhost/host/sdk/internal/failure"
	"github.com/pluginhost/host/sdk/schema"
)

// Values decodes one configuration and owns what was opened for it.
type Values struct {
	Leases map[string]*os.File // by attribute path; nil in Verify, where there are none
	opened []io.Closer         // listeners and files made so far
	reads  map[string]*packets // of them, by attribute path
}

// Decode fills a configuration struct from JSON. What is missing gets its
// default: host has filled it in, a test may not have.
func (d *Values) Decode(c *Settings, config json.RawMessage, into reflect.Value) error {
	if len(config) == 0 {
		config = json.RawMessage("{}")
	}
	return d.value("", c, config, into)
}

// Close gives back what was opened. A second close by the plugin is harmless.
func (d *Values) Close() {
	for _, c := range d.opened {
		_ = c.Close()
	}
	for _, f := range d.Leases {
		_ = f.Close()
	}
	d.opened, d.Leases = nil, nil
}

func null(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

func (d *Values) value(path string, c *Settings, raw json.RawMessage, into reflect.Value) error {
	if null(raw) {
		return nil
	}
	if c.optional {
		p := reflect.New(c.goType)
		into.Set(p)
		into = p.Elem()
	}
	var err error
	switch c.Kind {
	case schema.Object:
		return d.object(path, c, raw, into)
	case schema.List:
		return d.list(path, c, raw, into)
	case schema.Map:
		return d.mapping(path, c, raw, into)
	case schema.Listener, schema.File:
		if err = fits(c, raw); err == nil {
			err = d.lease(path, c, into)
		}
	default:
		err = scalar(path, c, raw, into)
	}
	if err != nil {
		return failure.At(path, err)
	}
	return nil
}

func (d *Values) object(path string, c *Settings, raw json.RawMessage, into reflect.Value) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return failure.At(path, errors.New("it is not an object"))
	}
	var errs []error
	for i := range c.attributes {
		a := &c.attributes[i]
		at := a.Name
		if path != "" {
			at = path + "." + a.Name
		}
		value := fields[a.Name]
		delete(fields, a.Name)
		if null(value) {
			if a.Required {
				errs = append(errs, failure.At(at, errors.New("it is required")))
				continue
			}
			value = a.Default
		}
		if err := d.value(at, a.typ, value, into.FieldByIndex(a.index)); err != nil {
			errs = append(errs, err)
		}
	}
	unknown := make([]string, 0, len(fields))
	for name := range fields {
		unknown = append(unknown, name)
	}
	sort.Strings(unknown)
	for _, name := range unknown {
		errs = append(errs, failure.At(path, fmt.Errorf("there is no attribute %q", name)))
	}
	return errors.Join(errs...)
}

func (d *Values) list(path string, c *Settings, raw json.RawMessage, into reflect.Value) error {
	var elems []json.RawMessage
	if err := json.Unmarshal(raw, &elems); err != nil {
		return failure.At(path, errors.New("it is not a list"))
	}
	list := reflect.MakeSlice(c.goType, len(elems), len(elems))
	var errs []error
	for i, e := range elems {
		errs = append(errs, d.value(fmt.Sprintf("%s[%d]", path, i), c.elem, e, list.Index(i)))
	}
	into.Set(list)
	return errors.Join(errs...)
}

func (d *Values) mapping(path string, c *Settings, raw json.RawMessage, into reflect.Value) error {
	var elems map[string]json.RawMessage
	if err := json.Unmarshal(raw, &elems); err != nil {
		return failure.At(path, errors.New("it is not a map"))
	}
	m := reflect.MakeMapWithSize(c.goType, len(elems))
	var errs []error
	for k, e := range elems {
		v := reflect.New(c.goType.Elem()).Elem()
		errs = append(errs, d.value(fmt.Sprintf("%s[%q]", path, k), c.elem, e, v))
		m.SetMapIndex(reflect.ValueOf(k).Convert(c.goType.Key()), v)
	}
	into.Set(m)
	return errors.Join(errs...)
}

// fits checks that the address of a socket is of the kind that the plugin wants,
// also where there is no descriptor yet.
func fits(c *Settings, raw json.RawMessage) error {
	s, _ := text(raw) // a test may have no address
	scheme, _, _ := strings.Cut(s, "://")
	switch datagrams := c.goType == reflect.TypeFor[net.PacketConn](); {
	case c.Kind != schema.Listener:
	case datagrams && (scheme == "tcp" || scheme == "unix"):
		return fmt.Errorf("%s:// is for connections, and this reads datagrams: write udp:// or unixgram://", scheme)
	case !datagrams && (scheme == "udp" || scheme == "unixgram"):
		return fmt.Errorf("%s:// is for datagrams, and this takes connections: write tcp:// or unix://", scheme)
	}
	return nil
}

// lease takes the descriptor that came for an attribute.
func (d *Values) lease(path string, c *Settings, into reflect.Value) error {
	if d.Leases == nil {
		return nil
	}
	f := d.Leases[path]
	if f == nil {
		return errors.New("host passed no descriptor for it")
	}
	delete(d.Leases, path)
	if c.Kind == schema.File {
		d.opened = append(d.opened, f)
		into.Set(reflect.ValueOf(f))
		return nil
	}
	// The listener has a duplicate of its own.
	defer func() { _ = f.Close() }()
	if c.goType == reflect.TypeFor[net.PacketConn]() {
		conn, err := net.FilePacketConn(f)
		if err != nil {
			return err
		}
		p := newPackets(conn)
		if d.reads == nil {
			d.reads = map[string]*packets{}
		}
		d.reads[path] = p
		d.opened = append(d.opened, p)
		into.Set(reflect.ValueOf(net.PacketConn(p)))
		return nil
	}
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	switch x := l.(type) {
	case *net.UnixListener:
		x.SetUnlinkOnClose(false) // others hold the socket: its path is theirs
	case *net.TCPListener:
		l = &connections{x}
	}
	d.opened = append(d.opened, l)
	into.Set(reflect.ValueOf(l))
	return nil
}

// scalar decodes what is neither a container nor a descriptor.
func scalar(path string, c *Settings, raw json.RawMessage, into reflect.Value) error {
	switch c.Kind {
	case schema.Duration, schema.Bytes:
		return quantity(c.Kind, raw, into)
	case schema.URL:
		s, err := text(raw)
		if err != nil {
			return err
		}
		u, err := url.Parse(s)
		if err != nil {
			return err
		}
		into.Set(reflect.ValueOf(u))
		return nil
	case schema.Template:
		s, err := text(raw)
		if err != nil {
			return err
		}
		t, err := template.New(path).Parse(s)
		if err != nil {
			return err
		}
		into.Set(reflect.ValueOf(t))
		return nil
	}
	if c.goType == bytesType {
		s, err := text(raw)
		if err != nil {
			return err
		}
		into.SetBytes([]byte(s))
		return nil
	}
	if err := json.Unmarshal(raw, into.Addr().Interface()); err != nil {
		var mismatch *json.UnmarshalTypeError
		if errors.As(err, &mismatch) {
			if _, value, ok := strings.Cut(mismatch.Value, "number "); ok && c.Kind == schema.Number && strings.ContainsAny(value, ".eE") {
				return fmt.Errorf("%s is not a whole number", value)
			}
			return fmt.Errorf("a %s does not fit %s", mismatch.Value, c.goType)
		}
		return err
	}
	return nil
}

// quantity decodes a number of nanoseconds or bytes, or its form in HCL.
func quantity(kind schema.Kind, raw json.RawMessage, into reflect.Value) error {
	if raw[0] != '"' {
		var n int64
		if err := json.Unmarshal(raw, &n); err != nil {
			return fmt.Errorf("it is not a %s", kind)
		}
		into.SetInt(n)
		return nil
	}
	s, err := text(raw)
	if err != nil {
		return err
	}
	if kind == schema.Bytes {
		n, err := schema.ParseBytes(s)
		into.SetInt(n)
		return err
	}
	n, err := time.ParseDuration(s)
	into.SetInt(int64(n))
	return err
}

func text(raw json.RawMessage) (string, error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", errors.New("it is not a string")
	}
	return s, nil
}

package address

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pluginhost/host/sdk/schema"
)

// OptionError is an option that there is not.
type OptionError struct {
	Name  string
	Known []string // those that the network has
}

// Error lists those that there are.
func (e *OptionError) Error() string {
	return fmt.Sprintf("there is no option %q: there are %s", e.Name, strings.Join(e.Known, ", "))
}

// option is one of the options of a listener.
type option struct {
	name     string
	networks string // that have it
	read     func(a *Address, value string) error
}

// listed is every option, in the order in which they are documented.
func listed() []option {
	return []option{
		{"backlog", "tcp unix", func(a *Address, v string) error { return number(&a.Settings.Backlog, v, 1, math.MaxInt32) }},
		{"keepalive", "tcp", readKeepAlive},
		{"rcvbuf", "tcp udp unix unixgram", func(a *Address, v string) error { return size(&a.Settings.ReceiveBuffer, v) }},
		{"sndbuf", "tcp udp unix unixgram", func(a *Address, v string) error { return size(&a.Settings.SendBuffer, v) }},
		{"mode", "unix unixgram", readMode},
		{"owner", "unix unixgram", readOwner},
		{"v6only", "tcp udp", readV6Only},
		{"device", "tcp udp", readDevice},
		{"freebind", "tcp udp", func(a *Address, v string) error { return boolean(&a.FreeBind, v) }},
		{"transparent", "tcp udp", func(a *Address, v string) error { return boolean(&a.Transparent, v) }},
		{"reuseport", "tcp udp", func(a *Address, v string) error { return boolean(&a.ReusePort, v) }},
	}
}

// options reads what stands after the question mark.
func (a *Address) options(query, family string) error {
	if query == "" {
		return a.zone()
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("the options %q cannot be read: write name=value, with & between them", query)
	}
	var known []string
	for _, o := range listed() {
		all, set := values[o.name]
		delete(values, o.name)
		if !slices.Contains(strings.Fields(o.networks), a.Network) {
			if set {
				return fmt.Errorf("option %s is for %s, not for %s", o.name, strings.Join(strings.Fields(o.networks), ", "), a.Network)
			}
			continue
		}
		known = append(known, o.name)
		switch {
		case !set:
			continue
		case len(all) > 1:
			return fmt.Errorf("option %s is given %d times", o.name, len(all))
		case o.name == "v6only" && (a.Addr.Addr().Is4() || family == "4"):
			return fmt.Errorf("option v6only is for IPv6, and %s is not", a.Addr.Addr())
		}
		if err := o.read(a, all[0]); err != nil {
			return fmt.Errorf("option %s: %w", o.name, err)
		}
	}
	for name := range values {
		return &OptionError{Name: name, Known: known}
	}
	return a.zone()
}

// zone makes the zone of an address its device, as the kernel does.
func (a *Address) zone() error {
	if zone := a.Addr.Addr().Zone(); zone != "" {
		if a.Device != "" && a.Device != zone {
			return fmt.Errorf("option device is %s, and the zone of the address is %s: they are the same thing", a.Device, zone)
		}
		if err := readDevice(a, zone); err != nil {
			return fmt.Errorf("the zone of the address: %w", err)
		}
	}
	return nil
}

func boolean(to *bool, v string) error {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return fmt.Errorf("%q is neither 1 nor 0", v)
	}
	*to = b
	return nil
}

func number(to *int, v string, least, most int) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return fmt.Errorf("%q is not a number from %d to %d", v, least, most)
	}
	*to = n
	return nil
}

// maxBuffer is what the kernel can double.
const maxBuffer = math.MaxInt32 / 2

func size(to *int, v string) error {
	n, err := schema.ParseBytes(v)
	if err != nil || n < 1 || n > maxBuffer {
		return fmt.Errorf("%q is not a size such as 64KiB, up to 1 GiB", v)
	}
	*to = int(n)
	return nil
}

func readKeepAlive(a *Address, v string) error {
	if v == "off" || v == "0" {
		a.Settings.KeepAlive = 0
		return nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < time.Second || d > 32767*time.Second || d%time.Second != 0 {
		return fmt.Errorf("%q is neither off nor whole seconds such as 30s, up to 32767s", v)
	}
	a.Settings.KeepAlive = d
	return nil
}

func readMode(a *Address, v string) error {
	n, err := strconv.ParseUint(v, 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is not a mode such as 0660", v)
	}
	a.Settings.Mode = uint32(n)
	return nil
}

func readOwner(a *Address, v string) error {
	a.Settings.Owner, a.Settings.Group, _ = strings.Cut(v, ":")
	if v == "" || v == ":" || strings.ContainsAny(v, "/\x00 ") {
		return fmt.Errorf("%q is not user, user:group or :group", v)
	}
	return nil
}

// readV6Only says something of [::] only. Other IPv6 addresses never get IPv4.
func readV6Only(a *Address, v string) error {
	var only bool
	if err := boolean(&only, v); err != nil {
		return err
	}
	a.Dual = !only && a.Addr.Addr().IsUnspecified()
	return nil
}

// maxDevice is the longest name of a network device, in bytes.
const maxDevice = 15

// readDevice refuses what the kernel does (dev_valid_name), and control characters.
func readDevice(a *Address, v string) error {
	if v == "" || len(v) > maxDevice || v == "." || v == ".." || strings.ContainsFunc(v, func(c rune) bool {
		return c == '/' || c == ':' || c <= ' ' || c == 0x7f
	}) {
		return fmt.Errorf("%q is not the name of a network device such as eth0", v)
	}
	a.Device = v
	return nil
}

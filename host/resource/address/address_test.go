package address_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pluginhost/host/host/resource/address"
)

func parse(t *testing.T, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestKeyAndIdentity(t *testing.T) {
	for _, tt := range []struct{ url, key, identity string }{
		{"tcp://127.0.0.1:80", "tcp 127.0.0.1:80", "tcp://127.0.0.1:80"},
		{"tcp://localhost:80", "tcp 127.0.0.1:80", "tcp://127.0.0.1:80"},
		{"tcp6://localhost:80", "tcp [::1]:80", "tcp://[::1]:80"},
		{"tcp://[::ffff:127.0.0.1]:80", "tcp 127.0.0.1:80", "tcp://127.0.0.1:80"},
		{"tcp://[0:0::1]:80", "tcp [::1]:80", "tcp://[::1]:80"},
		{"tcp://[::1%lo]:80", "tcp [::1]:80", "tcp://[::1]:80"}, // the kernel heeds no zone here
		{"tcp://[fe80::1%lo]:80", "tcp [fe80::1%lo]:80 device=lo", "tcp://[fe80::1%lo]:80?device=lo"},
		{"tcp://:80", "tcp [::]:80 dual", "tcp://[::]:80?v6only=0"},
		{"tcp://[::]:80?v6only=0", "tcp [::]:80 dual", "tcp://[::]:80?v6only=0"},
		{"tcp://:80?v6only=1", "tcp [::]:80", "tcp://[::]:80"},
		{"tcp://[::1]:80?v6only=0", "tcp [::1]:80", "tcp://[::1]:80"}, // says nothing of one address
		{"tcp6://:80", "tcp [::]:80", "tcp://[::]:80"},
		{"udp4://:53", "udp 0.0.0.0:53", "udp://0.0.0.0:53"},
		{"udp://127.0.0.1:53?transparent=1&freebind=true&reuseport=1&device=lo&rcvbuf=1MiB",
			"udp 127.0.0.1:53 device=lo freebind transparent reuseport",
			"udp://127.0.0.1:53?device=lo&freebind=1&transparent=1&reuseport=1"},
		{"unix:///run//x.sock?mode=0600&backlog=5", "unix /run/x.sock", "unix:///run/x.sock"},
		{"unixgram://x.sock", "unixgram x.sock", "unixgram://x.sock"},
	} {
		a := parse(t, tt.url)
		if a.Key() != tt.key || a.Identity() != tt.identity {
			t.Errorf("%s: key %q, identity %q; want %q, %q", tt.url, a.Key(), a.Identity(), tt.key, tt.identity)
		}
		if b := parse(t, a.Identity()); b.Key() != a.Key() {
			t.Errorf("%s: its identity %s has the key %q", tt.url, a.Identity(), b.Key())
		}
	}
}

func TestSettings(t *testing.T) {
	a := parse(t, "tcp://127.0.0.1:80?backlog=512&rcvbuf=1MiB&sndbuf=64k&keepalive=30s")
	want := address.Settings{Backlog: 512, ReceiveBuffer: 1 << 20, SendBuffer: 64_000, KeepAlive: 30 * time.Second}
	if a.Settings != want {
		t.Errorf("got %+v, want %+v", a.Settings, want)
	}
	if a := parse(t, "tcp://127.0.0.1:80"); a.Settings != (address.Settings{KeepAlive: address.DefaultKeepAlive}) {
		t.Errorf("defaults: %+v", a.Settings)
	}
	if a := parse(t, "tcp://127.0.0.1:80?keepalive=off"); a.Settings.KeepAlive != 0 {
		t.Errorf("keepalive off: %+v", a.Settings)
	}
	a = parse(t, "unix:///x?mode=0640&owner=www:adm")
	if want := (address.Settings{Mode: 0o640, Owner: "www", Group: "adm"}); a.Settings != want {
		t.Errorf("got %+v, want %+v", a.Settings, want)
	}
	if a := parse(t, "unix:///x?owner=:7"); a.Settings.Owner != "" || a.Settings.Group != "7" || a.Settings.Mode != address.DefaultMode {
		t.Errorf("group only: %+v", a.Settings)
	}
}

func TestRefused(t *testing.T) {
	for url, want := range map[string]string{
		"127.0.0.1:80":                                    "tcp://127.0.0.1:8080",
		"http://127.0.0.1:80":                             "tcp, udp, unix and unixgram",
		"tcp://example.com:80":                            "names other than localhost",
		"tcp://127.0.0.1":                                 "a port",
		"tcp://127.0.0.1:99999":                           "a port",
		"tcp4://[::1]:80":                                 "not an IPv4 address",
		"tcp6://127.0.0.1:80":                             "not an IPv6 address",
		"unix://":                                         "no path",
		"unix:///" + strings.Repeat("x", 200):             "107 bytes",
		"tcp://127.0.0.1:80?backlog=0":                    "backlog",
		"tcp://127.0.0.1:80?backlog=1&backlog=2":          "2 times",
		"tcp://127.0.0.1:80?mode=0600":                    "for unix, unixgram, not for tcp",
		"udp://127.0.0.1:80?keepalive=1s":                 "for tcp, not for udp",
		"unix:///x?reuseport=1":                           "for tcp, udp, not for unix",
		"unix:///x?mode=rw":                               "0660",
		"unix:///x?mode=7777":                             "0660",
		"unix:///x?owner=":                                "user:group",
		"tcp://127.0.0.1:80?v6only=1":                     "for IPv6",
		"tcp4://:80?v6only=1":                             "for IPv6",
		"tcp://127.0.0.1:80?freebind=perhaps":             "neither 1 nor 0",
		"tcp://127.0.0.1:80?rcvbuf=9GiB":                  "up to 1 GiB",
		"tcp://127.0.0.1:80?keepalive=1ms":                "whole seconds",
		"tcp://127.0.0.1:80?device=" + "abcdefghijklmnop": "network device",
		"tcp://[fe80::1%lo]:80?device=eth0":               "the same thing",
		"tcp://127.0.0.1:80?a=%zz":                        "name=value",
	} {
		if _, err := address.Parse(url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want something on %q", url, err, want)
		}
	}
	_, err := address.Parse("tcp://127.0.0.1:80?backlg=5")
	var unknown *address.OptionError
	if !errors.As(err, &unknown) || unknown.Name != "backlg" || !strings.Contains(strings.Join(unknown.Known, " "), "backlog") {
		t.Errorf("an unknown option: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"tcp://[::1%lo]:8080?backlog=512", "unix:///x?mode=0660&owner=a:b", "udp://:0?v6only=0", "tcp4://localhost:1", "://", "tcp://[fe80::1%1]:1", "tcp://[fe80::1%//[fe1]:1", "tcp://[fe80::1%a+b]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := address.Parse(s)
		if err != nil {
			return
		}
		b, err := address.Parse(a.Identity())
		if err != nil || b.Key() != a.Key() {
			t.Errorf("%q: the identity %q gives %q, %v", s, a.Identity(), b.Key(), err)
		}
		if !a.AnyPort() && !(a.ReusePort) && !a.Collides(a) {
			t.Errorf("%q does not collide with itself", s)
		}
		if a.Collides(b) != b.Collides(a) {
			t.Errorf("%q: who asks decides whether they collide", s)
		}
	})
}

package spawner

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/pluginhost/host/host/spawner/message"
)

// samples has each kind of request with all of its fields set.
func samples() []Request {
	bind := Bind{Network: "tcp", Address: "[::]:80", Key: "k", Device: "lo", FreeBind: true, Transparent: true, ReusePort: true,
		Over: []string{"lease-1"}, Settings: Settings{Backlog: 1, Mode: 0o600, UID: -1, GID: 7, ReceiveBuffer: 2, SendBuffer: 3, KeepAlive: 4}}
	return []Request{
		{ID: 1, Asks: AsksHello, Hello: Hello{StateDir: "/s", PluginDir: "/p"}},
		{ID: 2, Asks: AsksBind, Bind: bind},
		{ID: 3, Asks: AsksSet, Lease: "lease-1", Set: bind.Settings},
		{ID: 4, Asks: AsksRetire, Lease: "lease-1"},
		{ID: 5, Asks: AsksOpen, Open: Open{Path: "/f", Access: "read"}},
		{ID: 6, Asks: AsksClose, Lease: "lease-1"},
		{ID: 7, Asks: AsksDir, User: "nobody"},
		{ID: 8, Asks: AsksStart, Start: Start{Argv: []string{"a", ""}, Env: []string{"A=1"}, Dir: "/d", User: "u", Digest: "0f", State: "s",
			Memory: 1, CPU: 2, Procs: 3, Files: 4, FileSize: 5, Core: 6, Write: []string{"/w"}, Read: []string{"/r"}, Network: true, Free: true, Require: []string{"memory"}}},
		{ID: 9, Asks: AsksGive, Number: 1, Lease: "lease-1"},
		{ID: 10, Asks: AsksSignal, Number: 1, Signal: 9},
		{ID: 11, Asks: AsksHolder, Inodes: []string{"1"}},
		{ID: 12, Asks: AsksSweep},
	}
}

func TestRequestsThereAndBack(t *testing.T) {
	if n := len(samples()); n != int(AsksSweep) {
		t.Fatalf("%d kinds of requests, %d samples", AsksSweep, n)
	}
	for _, want := range samples() {
		b, err := message.Encode(want.Fields)
		if err != nil {
			t.Fatal(err)
		}
		var got Request
		if err := message.Decode(b, got.Fields); err != nil {
			t.Fatalf("request %d: %v", want.Asks, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("request %d: %+v, want %+v", want.Asks, got, want)
		}
		for n := range b { // no part of a message is one
			var cut Request
			if message.Decode(b[:n], cut.Fields) == nil {
				t.Errorf("request %d: its first %d of %d bytes are taken", want.Asks, n, len(b))
			}
		}
		var longer Request
		if message.Decode(append(b, 0), longer.Fields) == nil {
			t.Errorf("request %d: a byte more is taken", want.Asks)
		}
	}
}

func TestRequestsAreBounded(t *testing.T) {
	for name, r := range map[string]Request{
		"a long text":     {Asks: AsksClose, Lease: string(make([]byte, 33<<10))},
		"a long list":     {Asks: AsksHolder, Inodes: make([]string, 1025)},
		"a long message":  {Asks: AsksStart, Start: Start{Env: []string{string(make([]byte, 32<<10)), string(make([]byte, 32<<10)), string(make([]byte, 32<<10)), string(make([]byte, 32<<10))}}},
		"no such request": {Asks: AsksSweep + 1},
		"nothing":         {},
		"a limit below 0": {Asks: AsksStart, Start: Start{Memory: -1}},
		"a huge setting":  {Asks: AsksSet, Set: Settings{Backlog: 1 << 40}},
	} {
		if _, err := message.Encode(r.Fields); err == nil {
			t.Errorf("%s is sent", name)
		}
	}
}

// Whatever comes is an error or a request that is written the same way.
func FuzzRequest(f *testing.F) {
	for _, r := range samples() {
		b, err := message.Encode(r.Fields)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		if message.Decode(b, r.Fields) != nil {
			return
		}
		again, err := message.Encode(r.Fields)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", r, err)
		}
		if !bytes.Equal(b, again) && r.Asks != AsksSet && r.Asks != AsksBind { // a mode loses bits that are none
			t.Fatalf("%x is written as %x", b, again)
		}
	})
}

func FuzzReply(f *testing.F) {
	b, err := message.Encode((&Reply{ID: 1, Kind: Busy, Message: "m", Texts: []string{"x"}, Exit: Exit{Code: -1, Core: true}}).Fields)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reply
		if message.Decode(b, r.Fields) == nil {
			if again, err := message.Encode(r.Fields); err != nil || !bytes.Equal(b, again) {
				t.Fatalf("%x is written as %x, %v", b, again, err)
			}
		}
	})
}

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/sdktest"
)

func TestLines(t *testing.T) {
	cause := sdk.ID{1: 7}
	for _, c := range []struct {
		config sdktest.Config
		data   string
		want   string // of the data, or the whole line
	}{
		{nil, `{"a":1}`, `{"a":1}`},
		{nil, "{\n  \"a\": 1\n}", `{"a":1}`},
		{nil, "text\nof two lines", `"text\nof two lines"`},
		{nil, "bytes \xff", `"bytes \ufffd"`},
		{nil, `"a < b"`, `"a < b"`},
		{nil, ``, ``},
		{sdktest.Config{"only": "data"}, "{\n  \"a\": \"<b>\"\n}", `{"a":"<b>"}`},
		{sdktest.Config{"only": "data"}, "text", `"text"`},
		{sdktest.Config{"only": "data", "prefix": "> "}, "1", `> 1`},
	} {
		in := sdktest.Start(t, plugin(), c.config)
		v, err := in.Call("write", []byte(c.data), func(e *sdk.EventInfo) { e.Subject, e.Causation = "o-1", cause })
		if err != nil || len(v) > 0 {
			t.Errorf("%s, %v", v, err)
		}
		out := in.Process().Stdout()
		if strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, "\n") {
			t.Errorf("%q is not one line", out)
		}
		if c.config["only"] == "data" {
			if out != c.want+"\n" {
				t.Errorf("%q", out)
			}
			continue
		}
		var l line
		if err := json.Unmarshal([]byte(out), &l); err != nil || l.ID == "" || l.Type != "test.sender.sent" || l.Source == "" || l.Subject != "o-1" ||
			l.Time.IsZero() || l.Causation != cause.String() || string(l.Data) != c.want {
			t.Errorf("%q: %v", out, err)
		}
	}
}

func TestWritersDoNotMix(t *testing.T) {
	p := sdktest.New(t, plugin())
	var writers sync.WaitGroup
	for n := range 4 {
		in := p.Start(sdktest.Config{"only": "data"}, sdktest.Address(fmt.Sprintf("log.n%d", n)))
		for w := range 4 {
			writers.Go(func() {
				for i := range 50 {
					if _, err := in.Call("write", map[string]any{"n": n, "w": w, "i": i, "pad": strings.Repeat("x", 8000)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	writers.Wait()
	lines := 0
	for l := range strings.Lines(p.Stdout()) {
		var x struct{ Pad string }
		if err := json.Unmarshal([]byte(l), &x); err != nil || len(x.Pad) != 8000 {
			t.Fatalf("%v: %.80q", err, l)
		}
		lines++
	}
	if lines != 800 {
		t.Errorf("%d lines of 800", lines)
	}
}

package schema_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pluginhost/host/sdk/schema"
)

// field makes a manifest with one attribute, written as JSON.
func field(t *testing.T, text string) *schema.Manifest {
	t.Helper()
	m := &schema.Manifest{Name: "p", Version: "1.0.0"}
	var f schema.Field
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatal(text, err)
	}
	m.Config = []schema.Field{f}
	return m
}

func TestValidate(t *testing.T) {
	deep := func(n int) schema.Type {
		x := schema.Type{Kind: schema.String}
		for range n {
			inner := x
			x = schema.Type{Kind: schema.List, Elem: &inner}
		}
		return x
	}
	fields := func(n int) []schema.Field {
		var list []schema.Field
		for i := range n {
			list = append(list, schema.Field{Name: fmt.Sprint("f", i), Type: schema.Type{Kind: schema.String}})
		}
		return list
	}
	object := schema.Type{Kind: schema.Object, Fields: fields(schema.MaxFields)}
	for name, test := range map[string]struct {
		m    *schema.Manifest
		want string // in the error; empty for none
	}{
		"smallest":             {&schema.Manifest{Name: "p", Version: "0.1.0"}, ""},
		"pre-release":          {&schema.Manifest{Name: "p", Version: "1.0.0-rc.1+build.5"}, ""},
		"no name":              {&schema.Manifest{Version: "1.0.0"}, "not a plugin name"},
		"a name with a dash":   {&schema.Manifest{Name: "a-b", Version: "1.0.0"}, "not a plugin name"},
		"a long name":          {&schema.Manifest{Name: strings.Repeat("a", 64), Version: "1.0.0"}, "not a plugin name"},
		"a huge name":          {&schema.Manifest{Name: strings.Repeat("a", 1<<20), Version: "1.0.0"}, "not a plugin name"},
		"a name with controls": {&schema.Manifest{Name: "a\x1b[31m", Version: "1.0.0"}, "not a plugin name"},
		"a reserved name":      {&schema.Manifest{Name: "event", Version: "1.0.0"}, "something else"},
		"a leading v":          {&schema.Manifest{Name: "p", Version: "v1.0.0"}, "without a leading v"},
		"half a version":       {&schema.Manifest{Name: "p", Version: "1.0"}, "semantic version"},
		"a long version":       {&schema.Manifest{Name: "p", Version: "1.0.0-" + strings.Repeat("a", 100)}, "semantic version"},
		"a long doc":           {&schema.Manifest{Name: "p", Version: "1.0.0", Doc: strings.Repeat("x", schema.MaxDoc+1)}, "at most 2048"},
		"a doc with controls":  {&schema.Manifest{Name: "p", Version: "1.0.0", Doc: "a\x1b]0;x\x07"}, "control characters"},
		"a doc that is none":   {&schema.Manifest{Name: "p", Version: "1.0.0", Doc: "\xff"}, "not UTF-8"},
		"10,000 attributes":    {&schema.Manifest{Name: "p", Version: "1.0.0", Config: fields(10_000)}, "there are 10000 fields; at most 256"},
		"many events": {&schema.Manifest{Name: "p", Version: "1.0.0", Events: make([]schema.Event, 10_000)},
			"there are 10000; at most 256"},
		"many actions": {&schema.Manifest{Name: "p", Version: "1.0.0", Actions: make([]schema.Action, 10_000)},
			"there are 10000; at most 256"},
		"many capabilities": {&schema.Manifest{Name: "p", Version: "1.0.0", Capabilities: make([]string, 100)}, "at most 32"},
		"a bad capability":  {&schema.Manifest{Name: "p", Version: "1.0.0", Capabilities: []string{"NET ADMIN"}}, "name of a capability"},
		"deep types": {&schema.Manifest{Name: "p", Version: "1.0.0", Events: []schema.Event{{Name: "e", Data: deep(100)}}},
			"more than 16 deep"},
		"many types": {&schema.Manifest{Name: "p", Version: "1.0.0", Config: []schema.Field{
			{Name: "a", Type: schema.Type{Kind: schema.Object, Fields: func() []schema.Field {
				list := fields(64)
				for i := range list {
					list[i].Type = object
				}
				return list
			}()}}}}, "more than 8192 types"},
		"an event twice": {&schema.Manifest{Name: "p", Version: "1.0.0", Events: []schema.Event{
			{Name: "e", Data: schema.Type{Kind: schema.Any}}, {Name: "e", Data: schema.Type{Kind: schema.Any}}}}, "declared twice"},
		"an event and an action of one name": {&schema.Manifest{Name: "p", Version: "1.0.0",
			Events:  []schema.Event{{Name: "e", Data: schema.Type{Kind: schema.Any}}},
			Actions: []schema.Action{{Name: "e", Input: schema.Type{Kind: schema.Any}, Output: schema.Type{Kind: schema.Any}}}}, ""},
		"a secret payload": {&schema.Manifest{Name: "p", Version: "1.0.0", Events: []schema.Event{
			{Name: "e", Data: schema.Type{Kind: schema.Secret}}}}, "secret is for configuration"},
		"a payload without a kind": {&schema.Manifest{Name: "p", Version: "1.0.0", Events: []schema.Event{{Name: "e"}}}, "not a kind"},
		"a payload with a default": {&schema.Manifest{Name: "p", Version: "1.0.0", Events: []schema.Event{{Name: "e", Data: schema.Type{
			Kind: schema.Object, Fields: []schema.Field{{Name: "x", Type: schema.Type{Kind: schema.String}, Default: json.RawMessage(`"d"`)}}}}}},
			"for configuration only"},
		"a reserved attribute":    {field(t, `{"name":"for_each","type":{"kind":"string"}}`), "host's own"},
		"an attribute twice":      {&schema.Manifest{Name: "p", Version: "1.0.0", Config: append(fields(1), fields(1)...)}, "declared twice"},
		"an attribute's name":     {field(t, `{"name":"A","type":{"kind":"string"}}`), "is not a name"},
		"an unknown kind":         {field(t, `{"name":"a","type":{"kind":"strin"}}`), "not a kind"},
		"a list of nothing":       {field(t, `{"name":"a","type":{"kind":"list"}}`), "needs the type"},
		"a string of something":   {field(t, `{"name":"a","type":{"kind":"string","elem":{"kind":"string"}}}`), "has no elements"},
		"a string with fields":    {field(t, `{"name":"a","type":{"kind":"string","fields":[{"name":"b","type":{"kind":"any"}}]}}`), "has no fields"},
		"one of numbers":          {field(t, `{"name":"a","type":{"kind":"number"},"one_of":["1"]}`), "for strings"},
		"access of a string":      {field(t, `{"name":"a","type":{"kind":"string"},"access":"read"}`), "access is for files"},
		"access of files":         {field(t, `{"name":"a","type":{"kind":"list","elem":{"kind":"file"}},"access":"read"}`), ""},
		"an unknown access":       {field(t, `{"name":"a","type":{"kind":"file"},"access":"execute"}`), "none of read"},
		"required with a default": {field(t, `{"name":"a","type":{"kind":"string"},"required":true,"default":"x"}`), "cannot have a default"},
		"a default of another":    {field(t, `{"name":"a","type":{"kind":"string"},"default":1}`), "it is not string"},
		"a default not in one_of": {field(t, `{"name":"a","type":{"kind":"string"},"one_of":["x"],"default":"y"}`), "none of x"},
		"a default duration":      {field(t, `{"name":"a","type":{"kind":"duration"},"default":"10s"}`), ""},
		"no default duration":     {field(t, `{"name":"a","type":{"kind":"duration"},"default":"10 s"}`), "default"},
		"a default of bytes":      {field(t, `{"name":"a","type":{"kind":"bytes"},"default":"64KiB"}`), ""},
		"no default of bytes":     {field(t, `{"name":"a","type":{"kind":"bytes"},"default":"many"}`), "number of bytes"},
		"no default URL":          {field(t, `{"name":"a","type":{"kind":"url"},"default":"x"}`), "absolute URL"},
		"a default list":          {field(t, `{"name":"a","type":{"kind":"list","elem":{"kind":"number"}},"default":[1,"x"]}`), "[1]: it is not number"},
		"a default map":           {field(t, `{"name":"a","type":{"kind":"map","elem":{"kind":"bool"}},"default":{"x":1}}`), `"x": it is not bool`},
		"a default object":        {field(t, `{"name":"a","type":{"kind":"object","fields":[{"name":"b","type":{"kind":"string"},"required":true}]},"default":{}}`), `"b" is missing`},
		"a default with more":     {field(t, `{"name":"a","type":{"kind":"object"},"default":{"b":1}}`), `no field "b"`},
		"more after the default":  {&schema.Manifest{Name: "p", Version: "1.0.0", Config: []schema.Field{{Name: "a", Type: schema.Type{Kind: schema.Any}, Default: json.RawMessage(`1 2`)}}}, "not JSON"},
		"a broken default":        {&schema.Manifest{Name: "p", Version: "1.0.0", Config: []schema.Field{{Name: "a", Type: schema.Type{Kind: schema.Any}, Default: json.RawMessage(`{`)}}}, "not JSON"},
		"a large default":         {&schema.Manifest{Name: "p", Version: "1.0.0", Config: []schema.Field{{Name: "a", Type: schema.Type{Kind: schema.Any}, Default: json.RawMessage(`"` + strings.Repeat("x", schema.MaxDefault) + `"`)}}}, "at most 65536"},
		"a default of a bad list": {field(t, `{"name":"a","type":{"kind":"list"},"default":[1]}`), "needs the type"},
	} {
		err := test.m.Validate()
		switch {
		case err == nil && test.want != "":
			t.Errorf("%s: accepted, want an error with %q", name, test.want)
		case err != nil && test.want == "":
			t.Errorf("%s: %v", name, err)
		case err != nil && !strings.Contains(err.Error(), test.want):
			t.Errorf("%s: %v, want %q", name, err, test.want)
		case err != nil && len(err.Error()) > 20*400:
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		case err != nil && strings.ContainsAny(err.Error(), "\x1b\x07") || err != nil && !utf8.ValidString(err.Error()):
			t.Errorf("%s: the error has control characters: %q", name, err)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "512": 512, "1B": 1, "64KiB": 65536, "64Ki": 65536, "1.5MB": 1_500_000, "2 GiB": 2 << 30, "1k": 1000,
		" 7 ": 7, "9223372036854775807": 1<<63 - 1,
	} {
		if n, err := schema.ParseBytes(text); err != nil || n != want {
			t.Errorf("%q: %d, %v; want %d", text, n, err, want)
		}
	}
	for _, text := range []string{"", "-1", "KiB", "1XB", "1e3", "0x10", "9223372036854775808", "99999999TiB", "1.5.5MB", "iB", "5i"} {
		if n, err := schema.ParseBytes(text); err == nil {
			t.Errorf("%q: %d", text, n)
		}
	}
}

// FuzzManifest: whatever a plugin sends is checked to the end, and what was
// accepted can be written, read and accepted again.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"name":"p","version":"1.0.0","config":[{"name":"a","type":{"kind":"list","elem":{"kind":"file"}},"access":"read"}],
		"events":[{"name":"e","data":{"kind":"object","fields":[{"name":"x","type":{"kind":"map","elem":{"kind":"number"}},"required":true}]}}],
		"actions":[{"name":"x","input":{"kind":"any"},"output":{"kind":"any"}}],"capabilities":["net"]}`))
	f.Add([]byte(`{"name":"p","version":"1.0.0","config":[{"name":"a","type":{"kind":"object","fields":[{"name":"b","type":{"kind":"bytes"},"default":5}]},"default":{"b":"1KiB"}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m schema.Manifest
		if json.Unmarshal(b, &m) != nil || m.Validate() != nil {
			return
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var n schema.Manifest
		if err := json.Unmarshal(again, &n); err != nil {
			t.Fatal(err)
		}
		if err := n.Validate(); err != nil {
			t.Errorf("%s: %v", again, err)
		}
		for _, e := range m.Events {
			if err := schema.Compatible(e.Data, e.Data); err != nil {
				t.Errorf("%s does not fit itself: %v", e.Data, err)
			}
		}
	})
}

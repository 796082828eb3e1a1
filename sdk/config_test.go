package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/sdktest"
)

type Kind string

type Inner struct {
	Name  string   `host:"name,required" doc:"Of the rule."`
	Codes []int    `host:"codes" default:"[1,2]"`
	Opt   *float64 `host:"opt"`
}

type Embedded struct {
	Level int `host:"level" default:"3"`
}

type All struct {
	Embedded
	Text     string             `host:"text" default:"a text"`
	Kind     Kind               `host:"kind" default:"small" oneof:"small|big"`
	Int      int8               `host:"int" default:"-4"`
	Uint     uint16             `host:"uint"`
	Float    float64            `host:"float" default:"1.5"`
	Bool     bool               `host:"bool" default:"true"`
	List     []string           `host:"list" default:"[\"x\"]"`
	Map      map[string]int     `host:"map"`
	Rules    []Inner            `host:"rules"`
	One      *Inner             `host:"one"`
	Named    map[string]Inner   `host:"named"`
	Any      any                `host:"any"`
	Raw      json.RawMessage    `host:"raw"`
	Time     time.Time          `host:"time"`
	Duration time.Duration      `host:"duration" default:"1m30s"`
	Bytes    sdk.Bytes          `host:"bytes" default:"64KiB"`
	Secret   sdk.Secret         `host:"secret"`
	URL      *url.URL           `host:"url" default:"http://example.com/x"`
	Template *template.Template `host:"template" default:"hello {{.name}}"`
	Program  sdk.Executable     `host:"program"`
	Ref      sdk.InstanceRef    `host:"ref"`
	Own      chan int           `host:"-"`
	Optional *string            `host:"optional"`
}

// decoded gives what New gets for a configuration.
func decoded[C any](t *testing.T, config any) (c C, diagnostics []schema.Diagnostic) {
	t.Helper()
	p := sdktest.New(t, sdk.Plugin[C]{Name: "p", Version: "1.0.0", New: func(_ context.Context, got C, _ *sdk.Env) (*sdk.Instance, error) {
		c = got
		return &sdk.Instance{}, nil
	}})
	in, diagnostics := p.Prepare(config)
	if in != nil {
		in.Abort()
	}
	return c, diagnostics
}

func TestDefaults(t *testing.T) {
	c, d := decoded[All](t, nil)
	if len(d) > 0 {
		t.Fatalf("%+v", d)
	}
	var hello strings.Builder
	if c.Template == nil || c.Template.Execute(&hello, map[string]string{"name": "Ada"}) != nil || hello.String() != "hello Ada" {
		t.Errorf("the template gives %q", hello.String())
	}
	c.Template = nil
	u, _ := url.Parse("http://example.com/x")
	want := All{Embedded: Embedded{3}, Text: "a text", Kind: "small", Int: -4, Float: 1.5, Bool: true, List: []string{"x"},
		Duration: 90 * time.Second, Bytes: 64 << 10, URL: u}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("%+v\nwanted\n%+v", c, want)
	}
}

func TestValues(t *testing.T) {
	c, d := decoded[All](t, `{"level":1,"text":"","kind":"big","int":127,"uint":65535,"float":-0.5,"bool":false,"list":[],"map":{"a":1},
		"rules":[{"name":"one"},{"name":"two","codes":[],"opt":2}],"one":{"name":"only"},"named":{"k":{"name":"n"}},"any":{"x":[1,null]},
		"raw":{"y":1},"time":"2026-01-02T03:04:05Z","duration":5000000000,"bytes":"1.5MB","secret":"s3cret","url":"https://a/b",
		"template":"x","program":"/bin/sh","ref":"http.orders","optional":"set"}`)
	if len(d) > 0 {
		t.Fatalf("%+v", d)
	}
	two := 2.0
	if c.Level != 1 || c.Text != "" || c.Kind != "big" || c.Int != 127 || c.Uint != 65535 || c.Float != -0.5 || c.Bool || c.List == nil || len(c.List) != 0 ||
		c.Map["a"] != 1 || !reflect.DeepEqual(c.Rules, []Inner{{"one", []int{1, 2}, nil}, {"two", []int{}, &two}}) || c.One.Name != "only" ||
		c.Named["k"].Name != "n" || len(c.Named["k"].Codes) != 2 || !reflect.DeepEqual(c.Any, map[string]any{"x": []any{1.0, nil}}) || string(c.Raw) != `{"y":1}` ||
		c.Time.Year() != 2026 || c.Duration != 5*time.Second || c.Bytes != 1_500_000 || c.Secret != "s3cret" || c.URL.Host != "a" ||
		c.Program != "/bin/sh" || c.Ref != "http.orders" || *c.Optional != "set" {
		t.Errorf("%+v", c)
	}
}

func TestWhatIsWrongWithAConfiguration(t *testing.T) {
	for _, c := range []struct {
		config string
		want   []string // attribute: part of the summary
	}{
		{`{"txet":1}`, []string{`: there is no attribute "txet"`}},
		{`{"rules":[{"name":"a"},{}]}`, []string{"rules[1].name: it is required"}},
		{`{"one":{"name":null}}`, []string{"one.name: it is required"}},
		{`{"named":{"k":{}}}`, []string{`named["k"].name: it is required`}},
		{`{"one":{"name":"a","x":1}}`, []string{`one: there is no attribute "x"`}},
		{`{"text":1,"int":"a","list":{},"map":[],"rules":1}`, []string{"text: a number does not fit string", "int: a string does not fit int8", "list: it is not a list", "map: it is not a map", "rules: it is not a list"}},
		{`{"int":128}`, []string{"int: a number 128 does not fit int8"}},
		{`{"int":1.5}`, []string{"int: 1.5 is not a whole number"}},
		{`{"uint":-1}`, []string{"uint: "}},
		{`{"duration":"soon"}`, []string{"duration: "}},
		{`{"duration":1.5}`, []string{"duration: it is not a duration"}},
		{`{"bytes":"many"}`, []string{"bytes: "}},
		{`{"url":"://"}`, []string{"url: "}},
		{`{"template":"{{"}`, []string{"template: "}},
		{`{"time":"yesterday"}`, []string{"time: "}},
		{`[]`, []string{": it is not an object"}},
		{`{`, []string{": it is not an object"}},
	} {
		_, d := decoded[All](t, c.config)
		if len(d) != len(c.want) {
			t.Errorf("%s: %+v", c.config, d)
			continue
		}
		for i, want := range c.want {
			if got := d[i].Attribute + ": " + d[i].Summary; !strings.HasPrefix(got, want) {
				t.Errorf("%s: %q, wanted %q", c.config, got, want)
			}
		}
	}
}

// The first line of an error is what a list shows, the rest explains it.
func TestErrorOfManyLines(t *testing.T) {
	p := sdktest.New(t, sdk.Plugin[struct{}]{Name: "p", Version: "1.0.0",
		Verify: func(context.Context, struct{}, func(string, int)) error { return errors.New("no\nbecause\nit is not") },
		New:    func(context.Context, struct{}, *sdk.Env) (*sdk.Instance, error) { return &sdk.Instance{}, nil }})
	if d, _ := p.Verify(nil); len(d) != 1 || d[0].Summary != "no" || d[0].Detail != "because\nit is not" {
		t.Errorf("%+v", d)
	}
}

// Progress may come from several goroutines, and from one that is late.
func TestProgressOfMany(t *testing.T) {
	var late func()
	p := sdktest.New(t, sdk.Plugin[struct{}]{Name: "p", Version: "1.0.0",
		Verify: func(_ context.Context, _ struct{}, progress func(string, int)) error {
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() { progress("looking", 50) })
			}
			all.Wait()
			late = func() { progress("late", 100) }
			return nil
		},
		New: func(context.Context, struct{}, *sdk.Env) (*sdk.Instance, error) { return &sdk.Instance{}, nil }})
	d, progress := p.Verify(nil)
	late()
	if len(d) > 0 || len(progress) != 8 || slices.Contains(progress, "late") {
		t.Errorf("%+v, %q", d, progress)
	}
}

// A socket of the wrong kind is told when the configuration is verified, before
// there is a descriptor.
func TestKindOfSocket(t *testing.T) {
	type sockets struct {
		Listen net.Listener   `host:"listen"`
		Packet net.PacketConn `host:"packet"`
	}
	p := sdktest.New(t, sdk.Plugin[sockets]{Name: "p", Version: "1.0.0", New: func(context.Context, sockets, *sdk.Env) (*sdk.Instance, error) {
		return &sdk.Instance{}, nil
	}})
	for config, want := range map[string]string{
		`{"listen":"tcp://:1","packet":"udp://:1"}`:       "",
		`{"listen":"unix:///a","packet":"unixgram:///a"}`: "",
		`{"listen":"udp://:1"}`:                           "listen: udp:// is for datagrams, and this takes connections: write tcp:// or unix://",
		`{"listen":"unixgram:///a"}`:                      "listen: unixgram:// is for datagrams, and this takes connections: write tcp:// or unix://",
		`{"packet":"tcp://:1"}`:                           "packet: tcp:// is for connections, and this reads datagrams: write udp:// or unixgram://",
	} {
		d, _ := p.Verify(config)
		if len(d) != min(len(want), 1) || len(d) == 1 && d[0].Attribute+": "+d[0].Summary != want {
			t.Errorf("%s: %+v", config, d)
		}
	}
}

func TestSchemaOfConfiguration(t *testing.T) {
	m, err := sdk.ManifestOf(sdk.Plugin[All]{Name: "p", Version: "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]schema.Kind{"level": schema.Number, "text": schema.String, "kind": schema.String, "int": schema.Number, "bool": schema.Bool,
		"list": schema.List, "map": schema.Map, "rules": schema.List, "one": schema.Object, "any": schema.Any, "raw": schema.Any, "time": schema.String,
		"duration": schema.Duration, "bytes": schema.Bytes, "secret": schema.Secret, "url": schema.URL, "template": schema.Template,
		"program": schema.Executable, "ref": schema.Instance, "optional": schema.String}
	found := map[string]schema.Field{}
	for _, f := range m.Config {
		found[f.Name] = f
	}
	for name, kind := range kinds {
		if found[name].Type.Kind != kind {
			t.Errorf("%s is %s", name, found[name].Type.Kind)
		}
	}
	if f := found["one"].Type.Fields[0]; f.Name != "name" || !f.Required || f.Doc != "Of the rule." {
		t.Errorf("%+v", f)
	}
	if f := found["kind"]; string(f.Default) != `"small"` || len(f.OneOf) != 2 {
		t.Errorf("%+v", f)
	}
	if _, ok := found["Own"]; ok || len(m.Config) != len(kinds)+3 {
		t.Errorf("%d attributes", len(m.Config))
	}
}

type payload struct {
	ID     string            `json:"id" doc:"What."`
	Count  *int              `json:"count"`
	Tags   []string          `json:"tags,omitempty"`
	Big    int64             `json:"big,string"`
	When   time.Time         `json:"when"`
	Self   *payload          `json:"self,omitempty"`
	Any    any               `json:"any"`
	Labels map[string]string `json:"labels,omitzero"`
	hidden int
	Skip   int `json:"-"`
}

func TestSchemaOfPayload(t *testing.T) {
	e := sdk.Event[payload]("e", "")
	m, err := sdk.ManifestOf(sdk.Plugin[struct{}]{Name: "p", Version: "1.0.0", Events: sdk.Events{e}, Actions: sdk.Actions{
		sdk.Action[struct{}, struct{}]("none", ""), sdk.Action[[]byte, json.RawMessage]("raw", "")}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range m.Events[0].Data.Fields {
		s := f.Name + " " + string(f.Type.Kind)
		if f.Required {
			s += "!"
		}
		got = append(got, s)
	}
	if want := "id string!, count number, tags list, big string!, when string!, self any, any any!, labels map"; strings.Join(got, ", ") != want {
		t.Errorf("%s\nwanted %s", strings.Join(got, ", "), want)
	}
	if m.Actions[0].Input.Kind != schema.Any || m.Actions[1].Input.Kind != schema.Any || m.Actions[1].Output.Kind != schema.Any {
		t.Errorf("%+v", m.Actions)
	}
	_ = payload{hidden: 1}
}

// A plugin that declares nonsense is told what, before anything else.
func TestNonsense(t *testing.T) {
	manifest := func(m *schema.Manifest, err error) error { return err }
	fine := sdk.Plugin[struct{}]{Name: "p", Version: "1.0.0"}
	with := func(f func(*sdk.Plugin[struct{}])) error {
		p := fine
		f(&p)
		return manifest(sdk.ManifestOf(p))
	}
	for want, err := range map[string]error{
		`"Shout" is not a plugin name`:                   with(func(p *sdk.Plugin[struct{}]) { p.Name = "Shout" }),
		`"host" means something else in a configuration`: with(func(p *sdk.Plugin[struct{}]) { p.Name = "host" }),
		`"v1.0.0" is not a semantic version`:             with(func(p *sdk.Plugin[struct{}]) { p.Version = "v1.0.0" }),
		`"a" is declared twice`: with(func(p *sdk.Plugin[struct{}]) {
			p.Events = sdk.Events{sdk.Event[string]("a", ""), sdk.Event[int]("a", "")}
		}),
		`event e: JSON has no chan int`: with(func(p *sdk.Plugin[struct{}]) { p.Events = sdk.Events{sdk.Event[chan int]("e", "")} }),
		`input of action a: field F: JSON has no func()`: with(func(p *sdk.Plugin[struct{}]) {
			p.Actions = sdk.Actions{sdk.Action[struct{ F func() }, string]("a", "")}
		}),
		`the configuration is a int; it must be a struct`: manifest(sdk.ManifestOf(sdk.Plugin[int]{Name: "p", Version: "1.0.0"})),
		`field A needs a tag host:"name"`:                 manifest(sdk.ManifestOf(sdk.Plugin[struct{ A int }]{Name: "p", Version: "1.0.0"})),
		`field a has a host tag but is not exported`: manifest(sdk.ManifestOf(sdk.Plugin[struct {
			a int `host:"a"`
		}]{Name: "p", Version: "1.0.0"})),
		`the host tag knows required, not "needed"`: manifest(sdk.ManifestOf(sdk.Plugin[struct {
			A int `host:"a,needed"`
		}]{Name: "p", Version: "1.0.0"})),
		`field A: default: `: manifest(sdk.ManifestOf(sdk.Plugin[struct {
			A int `host:"a" default:"many"`
		}]{Name: "p", Version: "1.0.0"})),
		`a required attribute cannot have a default`: manifest(sdk.ManifestOf(sdk.Plugin[struct {
			A int `host:"a,required" default:"1"`
		}]{Name: "p", Version: "1.0.0"})),
		`the name is the host's own`: manifest(sdk.ManifestOf(sdk.Plugin[struct {
			A int `host:"process"`
		}]{Name: "p", Version: "1.0.0"})),
		`field A: a chan int cannot be configured`: manifest(sdk.ManifestOf(sdk.Plugin[struct {
			A chan int `host:"a"`
		}]{Name: "p", Version: "1.0.0"})),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwanted %s", err, want)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	s := struct{ S sdk.Secret }{"s3cret"}
	if out := strings.Join([]string{s.S.String(), s.S.GoString()}, ""); strings.Contains(out, "s3cret") {
		t.Error(out)
	}
}

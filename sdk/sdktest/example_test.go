package sdktest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/sdktest"
)

type Config struct {
	Prefix string `host:"prefix" default:"> " doc:"Put before each line."`
}

type Line struct {
	Text string `json:"text" doc:"What to say."`
}

var (
	said = sdk.Event[Line]("said", "A line was spoken.")
	say  = sdk.Action[Line, Line]("say", "Speaks a line and returns it as spoken.")
)

func shout() sdk.Plugin[Config] {
	return sdk.Plugin[Config]{
		Name: "shout", Version: "1.0.0", Doc: "Says it louder.",
		Events: sdk.Events{said}, Actions: sdk.Actions{say},
		New: func(_ context.Context, c Config, env *sdk.Env) (*sdk.Instance, error) {
			return &sdk.Instance{Handlers: sdk.Handlers{
				say.Handle(func(ctx context.Context, l Line) (Line, error) {
					if l.Text == "" {
						return Line{}, sdk.Errorf(sdk.InvalidArgument, "nothing to say")
					}
					l.Text = c.Prefix + strings.ToUpper(l.Text)
					return l, said.Emit(ctx, env, l).Accepted(ctx)
				}),
			}}, nil
		},
	}
}

// A test of a plugin: an instance, a delivery with its outcome, and the event
// that the plugin emitted meanwhile.
func Example() {
	test := func(t *testing.T) {
		in := sdktest.Start(t, shout(), sdktest.Config{"prefix": "! "})

		value, err := in.Call("say", Line{Text: "hello"})
		if err != nil || string(value) != `{"text":"! HELLO"}` {
			t.Errorf("%s, %v", value, err)
		}
		said := in.Next("said")
		if string(said.Event.Data) != `{"text":"! HELLO"}` {
			t.Errorf("said %s", said.Event.Data)
		}
		said.Resolve(nil)

		if _, err := in.Call("say", Line{}); err == nil || err.Code != sdk.InvalidArgument {
			t.Errorf("an empty line: %v", err)
		}
	}
	_ = test // go test calls it
}

package sdk_test

import (
	"context"
	"strings"

	"github.com/pluginhost/host/sdk"
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
		Name: "shout", Version: "1.0.0", Doc: "Speaks up.",
		Events: sdk.Events{said}, Actions: sdk.Actions{say},
		New: func(_ context.Context, c Config, env *sdk.Env) (*sdk.Instance, error) {
			return &sdk.Instance{Handlers: sdk.Handlers{
				say.Handle(func(ctx context.Context, l Line) (Line, error) {
					l.Text = c.Prefix + strings.ToUpper(l.Text)
					said.Emit(ctx, env, l) // a promise; ignored here
					return l, nil
				}),
			}}, nil
		},
	}
}

// A whole plugin: main serves one value, and that is all.
func Example() {
	sdk.Serve(shout())
}

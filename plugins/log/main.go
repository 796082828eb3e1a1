// Command log is the plugin log: it writes events as JSON lines to the daemon's
// standard output.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/pluginhost/host/sdk"
)

// Config is the configuration of an instance.
type Config struct {
	Prefix string `host:"prefix" doc:"Put before each line."`
	Only   string `host:"only" default:"event" oneof:"event|data" doc:"Write the whole event, or its data alone."`
}

// line is one line of the log, named as in CloudEvents.
type line struct {
	ID          string          `json:"id"`
	Type        string          `json:"type"`
	Source      string          `json:"source"`
	Subject     string          `json:"subject,omitempty"`
	Time        time.Time       `json:"time"`
	Correlation string          `json:"correlation,omitempty"`
	Causation   string          `json:"causation,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
}

var write = sdk.Action[json.RawMessage, struct{}]("write", "Writes the event, or the input given by the route, as one line.")

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin[Config] {
	return sdk.Plugin[Config]{
		Name: "log", Version: "0.1.0", Doc: "Writes events as JSON lines to standard output.",
		Actions: sdk.Actions{write},
		New: func(_ context.Context, c Config, env *sdk.Env) (*sdk.Instance, error) {
			return &sdk.Instance{Handlers: sdk.Handlers{
				write.Handle(func(ctx context.Context, data json.RawMessage) (struct{}, error) {
					_, err := env.Stdout.Write(format(ctx, c, data))
					return struct{}{}, err
				}),
			}}, nil
		},
	}
}

// format makes one line. Data that is not JSON is written as a string.
func format(ctx context.Context, c Config, data json.RawMessage) []byte {
	if len(data) > 0 && !json.Valid(data) {
		data, _ = json.Marshal(string(data)) // strings cannot fail
	}
	var out bytes.Buffer
	out.WriteString(c.Prefix)
	if e, ok := sdk.FromContext(ctx); ok && c.Only == "event" {
		l := line{ID: e.ID.String(), Type: e.Type, Source: e.Source, Subject: e.Subject,
			Time: time.Unix(0, e.Time).UTC(), Causation: e.Causation.String(), Data: data}
		if e.Correlation != e.ID {
			l.Correlation = e.Correlation.String()
		}
		lines := json.NewEncoder(&out)
		lines.SetEscapeHTML(false)
		_ = lines.Encode(l) // data is JSON
		return out.Bytes()
	}
	_ = json.Compact(&out, data) // it is JSON, perhaps of several lines
	out.WriteByte('\n')
	return out.Bytes()
}

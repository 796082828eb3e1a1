package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/sdktest"
)

// An input that is lent is what was sent until the handler returns, whoever
// else's comes meanwhile, and may be its value. Its event has no data.
func TestLent(t *testing.T) {
	echo := sdk.Action[sdk.Lent, json.RawMessage]("echo", "Returns its input.")
	in := sdktest.Start(t, sdk.Plugin[struct{}]{Name: "lent", Version: "1.0.0", Actions: sdk.Actions{echo},
		New: func(context.Context, struct{}, *sdk.Env) (*sdk.Instance, error) {
			return &sdk.Instance{Credit: 16, Handlers: sdk.Handlers{
				echo.Handle(func(ctx context.Context, in sdk.Lent) (json.RawMessage, error) {
					came := bytes.Clone(in)
					if len(in)%3 == 0 {
						time.Sleep(time.Millisecond) // others are read
					}
					if !bytes.Equal(in, came) {
						t.Errorf("an input of %d bytes has changed", len(came))
					}
					if e, ok := sdk.FromContext(ctx); !ok || e.Data != nil {
						t.Errorf("the event has %d bytes", len(e.Data))
					}
					return json.RawMessage(in), nil
				}),
			}}, nil
		}}, nil)
	var wait sync.WaitGroup
	for g := range 16 {
		wait.Go(func() {
			for n := range 100 {
				say := fmt.Sprintf("%d %d %s", g, n, bytes.Repeat([]byte{byte('a' + g)}, 100*n))
				var back string
				v, err := in.Call("echo", say)
				if err != nil || json.Unmarshal(v, &back) != nil || back != say {
					t.Errorf("%.20s came back as %.20s, %v", say, back, err)
				}
			}
		})
	}
	wait.Wait()
}

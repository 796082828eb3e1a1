package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/pluginhost/host/cmd/bench-reload/internal/client"
	"github.com/pluginhost/host/sdk"
)

// hold is how long a slow request takes.
const hold = 2 * time.Second

type nothing struct{}

type reply struct {
	OK bool `json:"ok"`
}

var (
	never = sdk.Event[nothing]("never", "Is not emitted.")
	fast  = sdk.Action[any, reply]("fast", "Answers at once.")
	slow  = sdk.Action[any, reply]("slow", "Answers after a while.")
)

// servePlugin is the plugin that answers for plugins/http.
func servePlugin() {
	sdk.Serve(sdk.Plugin[struct{}]{
		Name: "bench", Version: "1.0.0", Doc: "Answers requests.",
		Events: sdk.Events{never}, Actions: sdk.Actions{fast, slow},
		New: func(context.Context, struct{}, *sdk.Env) (*sdk.Instance, error) {
			return &sdk.Instance{Credit: 1024, Handlers: sdk.Handlers{
				fast.Handle(func(context.Context, any) (reply, error) { return reply{true}, nil }),
				slow.Handle(func(ctx context.Context, _ any) (reply, error) {
					select {
					case <-time.After(hold):
						return reply{true}, nil
					case <-ctx.Done():
						return reply{}, ctx.Err()
					}
				}),
			}}, nil
		},
	})
}

// backend is the process behind the proxies: it answers slowly, on a port that
// it prints, until its standard input ends.
func backend() error {
	l, err := listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{ReadHeaderTimeout: client.RequestTimeout, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(hold):
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, body)
	})}
	fmt.Println(l.Addr())
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte() // its end is the order to end
		_ = s.Close()
	}()
	if err := s.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

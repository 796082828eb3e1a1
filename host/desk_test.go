package host_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pluginhost/host/sdk"
)

// The plugin probedesk hands deliveries on: to a token, to a promise, or to
// nobody.

// slip is what goes round with a token.
type slip struct {
	Token string `json:"token"`
	Text  string `json:"text"`
}

var (
	asked   = sdk.Event[slip]("asked", "Somebody has to decide.")
	sub     = sdk.Event[word]("sub", "Work for another.")
	seek    = sdk.Action[word, word]("seek", "Detaches the delivery and emits asked with its token.")
	approve = sdk.Action[slip, struct{}]("approve", "Settles with the token of a slip.")
	pass    = sdk.Action[word, word]("pass", "Emits sub and follows its promise.")
	recall  = sdk.Action[word, word]("recall", "Emits sub and cancels its promise.")
	hold    = sdk.Action[word, word]("hold", "Waits until its context ends and notes why, in the file cause.")
	note    = sdk.Action[slip, struct{}]("note", "Notes the token of a slip, in the file token.")
)

func serveDesk() {
	_, version, _ := strings.Cut(filepath.Base(os.Args[0]), "-")
	sdk.Serve(sdk.Plugin[struct{}]{
		Name: "probedesk", Version: version, Doc: "A plugin for tests of promises.",
		Events: sdk.Events{asked, sub}, Actions: sdk.Actions{seek, approve, pass, recall, hold, note},
		New: newDesk,
	})
}

func newDesk(_ context.Context, _ struct{}, env *sdk.Env) (*sdk.Instance, error) {
	var mu sync.Mutex // two handlers may write the same file at the same time
	write := func(name, text string) error {
		mu.Lock()
		defer mu.Unlock()
		if err := os.MkdirAll(env.StateDir, 0o700); err != nil {
			return err
		}
		path := filepath.Join(env.StateDir, name)
		if err := os.WriteFile(path+".part", []byte(text), 0o600); err != nil {
			return err
		}
		return os.Rename(path+".part", path)
	}
	return &sdk.Instance{Credit: 2, Handlers: sdk.Handlers{
		seek.Handle(func(ctx context.Context, w word) (word, error) {
			token, err := sdk.Defer(ctx)
			if err != nil {
				return w, err
			}
			if w.Text == "fail" {
				return w, sdk.Errorf(sdk.Internal, "after it had detached")
			}
			return word{Text: "nobody sees this"}, asked.Emit(ctx, env, slip{string(token), w.Text}).Accepted(ctx)
		}),
		approve.Handle(func(ctx context.Context, s slip) (struct{}, error) {
			return struct{}{}, env.Settle(ctx, sdk.Token(s.Token), word{Text: "approved by " + env.Address}, nil)
		}),
		pass.Handle(func(ctx context.Context, w word) (word, error) {
			return w, sdk.Follow(sub.Emit(ctx, env, w))
		}),
		recall.Handle(func(ctx context.Context, w word) (word, error) {
			p := sub.Emit(ctx, env, w)
			if err := p.Accepted(ctx); err != nil {
				return w, err
			}
			p.Cancel()
			_, err := p.Wait(ctx)
			return w, err
		}),
		hold.Handle(func(ctx context.Context, w word) (word, error) {
			if err := write("holding", ""); err != nil {
				return w, err
			}
			<-ctx.Done()
			why := context.Cause(ctx).Error()
			var e *sdk.Error
			if errors.As(context.Cause(ctx), &e) && e.Reason != "" {
				why = e.Reason
			}
			if err := write("cause", why); err != nil {
				return w, err
			}
			return w, ctx.Err() // whichever is noticed first, its answer or the end of its time
		}),
		note.Handle(func(_ context.Context, s slip) (struct{}, error) { return struct{}{}, write("token", s.Token) }),
	}}, nil
}

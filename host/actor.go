package host

import "context"

// actor is something with a Run(ctx) that has been started.
type actor struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when it has returned
	err    error         // valid after done
}

// start runs run in a goroutine of its own, which stop ends and waits for.
func start(run func(context.Context) error) *actor {
	ctx, cancel := context.WithCancel(context.Background())
	a := &actor{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.err = run(ctx)
	}()
	return a
}

func (a *actor) stop() {
	a.cancel()
	<-a.done
}

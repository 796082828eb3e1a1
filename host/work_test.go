package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pluginhost/host/sdk"
)

// The plugin probework emits jobs and does them, as fast as their promises
// settle; some jobs hang for ever the first time that a process sees them.

type workConfig struct {
	Window int `host:"window" doc:"Jobs in flight; an instance without emits none."`
}

type jobData struct {
	N    int    `json:"n"`
	Kind string `json:"kind" doc:"Which routes take it."`
	Hang bool   `json:"hang"`
}

var (
	job = sdk.Event[jobData]("job", "Something to do.")
	do  = sdk.Action[jobData, jobData]("do", "Does a job.")
)

// jobLife is the deadline of a job: what waits for a handler that never
// returns ends with it.
const jobLife = 20 * time.Second

func serveWork() {
	_, version, _ := strings.Cut(filepath.Base(os.Args[0]), "-")
	sdk.Serve(sdk.Plugin[workConfig]{
		Name: "probework", Version: version, Doc: "A plugin for faults.",
		Events: sdk.Events{job}, Actions: sdk.Actions{do}, New: newWork,
	})
}

func newWork(_ context.Context, c workConfig, env *sdk.Env) (*sdk.Instance, error) {
	var mu sync.Mutex
	hung := map[sdk.ID]bool{}
	in := &sdk.Instance{Credit: 16, Handlers: sdk.Handlers{
		do.Handle(func(ctx context.Context, j jobData) (jobData, error) {
			event, _ := sdk.FromContext(ctx)
			mu.Lock()
			hang := j.Hang && !hung[event.ID]
			hung[event.ID] = true
			mu.Unlock()
			if hang {
				select {}
			}
			time.Sleep(time.Duration(j.N%3) * time.Millisecond)
			return j, nil
		}),
	}}
	if c.Window > 0 {
		in.Run = func(ctx context.Context) error { return emitJobs(ctx, env, c.Window) }
	}
	return in, nil
}

// emitJobs keeps a window of jobs in flight until ctx ends.
func emitJobs(ctx context.Context, env *sdk.Env, window int) error {
	var wait sync.WaitGroup
	defer wait.Wait()
	for w := range window {
		wait.Go(func() {
			kinds := []string{"a", "b", "twice", "both"}
			for n := w; ctx.Err() == nil; n += window {
				p := job.Emit(ctx, env, jobData{N: n, Kind: kinds[n%len(kinds)], Hang: n%97 == 13},
					sdk.Subject(fmt.Sprintf("%d/%d", os.Getpid(), n%8)), sdk.Deadline(time.Now().Add(jobLife)))
				_, _ = p.Wait(ctx)                // however it ends, host has an account of it
				time.Sleep(20 * time.Millisecond) // a load, not a flood
			}
		})
	}
	return nil
}

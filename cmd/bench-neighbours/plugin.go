package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pluginhost/host/sdk"
)

// deed asks the plugin to misbehave.
type deed struct {
	How    string `json:"how" doc:"alloc, fork, open, fill, read or dial; spin or none to compare with."`
	Target string `json:"target,omitempty" doc:"What to read, or where to write."`
	For    string `json:"for" doc:"How long, where nothing ends it before."`
}

var (
	provoked  = sdk.Event[deed]("provoked", "Somebody is to misbehave; sent by the benchmark.")
	echo      = sdk.Action[any, string]("echo", "Answers.")
	misbehave = sdk.Action[deed, string]("misbehave", "Does something without end, and says what stopped it.")
)

// bomb is the argument of a process that was forked without end.
const bomb = "bomb"

const forever = time.Hour

// servePlugin is this executable in the plugin directory.
func servePlugin() {
	if len(os.Args) == 2 && os.Args[1] == bomb {
		_ = again(time.Now().Add(forever), fork)
		return
	}
	sdk.Serve(sdk.Plugin[struct{}]{
		Name: filepath.Base(os.Args[0]), Version: "1.0.0", Doc: "A neighbour, or one that misbehaves.",
		Events: sdk.Events{provoked}, Actions: sdk.Actions{echo, misbehave},
		New: func(context.Context, struct{}, *sdk.Env) (*sdk.Instance, error) {
			return &sdk.Instance{Handlers: sdk.Handlers{
				echo.Handle(func(context.Context, any) (string, error) { return "ok", nil }),
				misbehave.Handle(func(_ context.Context, d deed) (string, error) { return "", act(d) }),
			}}, nil
		},
	})
}

// act misbehaves for a while, or until it is ended. It returns the last refusal.
func act(d deed) error {
	length, err := time.ParseDuration(d.For)
	if err != nil {
		return err
	}
	until := time.Now().Add(length)
	switch d.How {
	case "alloc":
		return again(until, alloc)
	case "fork":
		return again(until, fork)
	case "open":
		return again(until, func() error {
			_, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
			return err
		})
	case "fill":
		var n atomic.Int64
		data := make([]byte, 1<<20)
		return again(until, func() error {
			return os.WriteFile(filepath.Join(d.Target, fmt.Sprint("big", n.Add(1))), data, 0o600)
		})
	case "read":
		return again(until, func() error {
			_, err := os.ReadFile(d.Target)
			return err
		})
	case "dial":
		return again(until, func() error {
			fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
			if err == nil {
				_ = syscall.Close(fd)
			}
			return err
		})
	case "spin":
		_ = again(until, func() error { return nil })
		return errors.New("nothing stopped it")
	case "none":
		time.Sleep(length)
		return errors.New("nothing was done")
	}
	return fmt.Errorf("unknown: %q", d.How)
}

// again does something until a time, on every processor, and whether it is
// refused or not. It returns the last refusal. It looks at the clock itself: a
// context would need Go's scheduler, which sees nothing of loops that make raw
// system calls only, for up to a minute.
func again(until time.Time, do func() error) error {
	last := make(chan error, runtime.NumCPU())
	for range runtime.NumCPU() {
		go func() {
			var refused error
			for time.Now().Before(until) {
				if err := do(); err != nil {
					refused = err
				}
			}
			last <- refused
		}()
	}
	var all []error
	for range runtime.NumCPU() {
		all = append(all, <-last)
	}
	return errors.Join(all...)
}

// kept is what was allocated.
var kept struct {
	sync.Mutex
	all [][]byte
}

func alloc() error {
	b := make([]byte, 1<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	kept.Lock()
	defer kept.Unlock()
	kept.all = append(kept.all, b)
	return nil
}

// fork starts a process that does the same without end.
func fork() error {
	c := exec.CommandContext(context.Background(), "/proc/self/exe", bomb) // its limits end it
	c.Args[0] = os.Args[0]
	if err := c.Start(); err != nil {
		return err
	}
	go func() { _ = c.Wait() }()
	return nil
}

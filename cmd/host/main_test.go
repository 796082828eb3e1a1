package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/sdk"
)

// The test binary is host, and a plugin too: a copy of it called probe-1.2.3 in
// a plugin directory is version 1.2.3 of the plugin probe.
func TestMain(m *testing.M) {
	host.Child()
	if os.Getenv("HOST_PLUGIN") != "" {
		serveProbe()
		return
	}
	testscript.Main(m, map[string]func(){"host": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, "HOST_ADDR=", "NO_COLOR=", "HOST_USER=root")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"plugin": scriptPlugin, "exits": scriptExits, "until": scriptUntil, "field": scriptField,
			"keys": scriptKeys, "save": scriptSave, "signal": scriptSignal,
		},
	})
}

// word is what goes in and out of a probe.
type word struct {
	Text string `json:"text"`
}

type probeConfig struct {
	Prefix string `host:"prefix" doc:"Put before each text."`
	Refuse bool   `host:"refuse" default:"false" doc:"Refuse to be verified."`
}

var (
	said = sdk.Event[word]("said", "A word was said.")
	echo = sdk.Action[word, word]("echo", "Returns the word with the prefix.")
	fail = sdk.Action[word, word]("fail", "Fails.")
	wait = sdk.Action[word, word]("wait", "Waits until there is a file called text.")
)

func serveProbe() {
	name, version, _ := strings.Cut(filepath.Base(os.Args[0]), "-")
	sdk.Serve(sdk.Plugin[probeConfig]{
		Name: name, Version: version, Doc: "A plugin for tests.",
		Events: sdk.Events{said}, Actions: sdk.Actions{echo, fail, wait},
		Verify: func(_ context.Context, c probeConfig, _ func(string, int)) error {
			if c.Refuse {
				return &sdk.AttrError{Attribute: "refuse", Err: sdk.Errorf(sdk.FailedPrecondition, "it was told to")}
			}
			return nil
		},
		New: func(_ context.Context, c probeConfig, _ *sdk.Env) (*sdk.Instance, error) {
			return &sdk.Instance{Handlers: sdk.Handlers{
				echo.Handle(func(_ context.Context, w word) (word, error) { return word{c.Prefix + w.Text}, nil }),
				fail.Handle(func(context.Context, word) (word, error) {
					return word{}, sdk.Errorf(sdk.FailedPrecondition, "it always fails")
				}),
				wait.Handle(func(ctx context.Context, w word) (word, error) {
					for ctx.Err() == nil {
						if _, err := os.Stat(w.Text); err == nil {
							return w, nil
						}
						time.Sleep(5 * time.Millisecond)
					}
					return word{}, ctx.Err()
				}),
			}}, nil
		},
	})
}

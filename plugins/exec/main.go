// Command exec is the plugin exec: it runs a program for each event. There is
// no shell: the command is a list, and what the program reads comes on its
// standard input.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pluginhost/host/sdk"
)

// Config is the configuration of an instance.
type Config struct {
	Command     []string          `host:"command,required" doc:"The program and its arguments. An absolute path, or one with a slash beside the configuration."`
	Env         map[string]string `host:"env" doc:"Environment of the program; besides it there are PATH, EVENT_ID, EVENT_TYPE, EVENT_SUBJECT and TRACEPARENT."`
	Dir         string            `host:"dir" doc:"Working directory; the configuration directory unless set."`
	Timeout     time.Duration     `host:"timeout" default:"30s" doc:"How long the program may take; the deadline of the delivery counts too."`
	KillAfter   time.Duration     `host:"kill_after" default:"2s" doc:"After SIGTERM to its process group, until SIGKILL."`
	OutputLimit sdk.Bytes         `host:"output_limit" default:"1MiB" doc:"Of standard output; more is an error."`
	Parse       string            `host:"parse" default:"auto" oneof:"auto|json|text" doc:"Read the output as JSON, as text, or as JSON where it is JSON."`
	Success     []int             `host:"success_codes" default:"[0]" doc:"Exit codes that mean success."`
	Retry       []int             `host:"retry_codes" default:"[75]" doc:"Exit codes after which the delivery may be tried again."`
	Invalid     []int             `host:"invalid_codes" default:"[65]" doc:"Exit codes that mean that the input was invalid."`
	Concurrency int               `host:"concurrency" default:"8" doc:"How many programs run at once."`
}

// Input is what the action run takes.
type Input struct {
	Stdin json.RawMessage `json:"stdin,omitempty" doc:"A string goes to standard input as it is, anything else as JSON."`
	Args  []string        `json:"args,omitempty" doc:"Put after the configured arguments."`
}

var run = sdk.Action[Input, json.RawMessage]("run", "Runs the program and returns its output.")

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin[Config] {
	return sdk.Plugin[Config]{
		Name: "exec", Version: "0.1.0", Doc: "Runs a program for each event.",
		Actions: sdk.Actions{run}, Capabilities: []string{"programs"},
		Verify: func(_ context.Context, c Config, _ func(string, int)) error {
			return errors.Join(check(c)...)
		},
		New: func(_ context.Context, c Config, env *sdk.Env) (*sdk.Instance, error) {
			p, err := newProgram(c, env.Dir)
			if err != nil {
				return nil, err
			}
			return &sdk.Instance{Credit: c.Concurrency, Handlers: sdk.Handlers{
				run.Handle(func(ctx context.Context, in Input) (json.RawMessage, error) {
					return p.run(ctx, in, env.Logger(ctx))
				}),
			}}, nil
		},
	}
}

// check looks at what can be wrong without the configuration directory.
func check(c Config) (errs []error) {
	wrong := func(attribute, format string, args ...any) {
		errs = append(errs, &sdk.AttrError{Attribute: attribute, Err: fmt.Errorf(format, args...)})
	}
	if len(c.Command) == 0 || c.Command[0] == "" {
		wrong("command", "it needs at least the program")
	} else if err := plainName(c.Command[0]); err != nil {
		wrong("command", "%w", err)
	} else if strings.Contains(strings.Join(c.Command, ""), "\x00") {
		wrong("command", "an argument has a zero byte")
	}
	if c.Concurrency < 1 || c.Concurrency > 1000 {
		wrong("concurrency", "it is from 1 to 1000")
	}
	if c.OutputLimit < 1 || c.OutputLimit > 3<<20 {
		wrong("output_limit", "it is from 1 byte to 3 MiB")
	}
	if c.Timeout <= 0 {
		wrong("timeout", "it is more than nothing")
	}
	if c.KillAfter < 0 {
		wrong("kill_after", "it is not negative")
	}
	for k, v := range c.Env {
		if k == "" || strings.ContainsAny(k, "=\x00") {
			wrong("env", "%q is not the name of a variable", k)
		} else if strings.Contains(v, "\x00") {
			wrong("env", "the value of %s has a zero byte", k)
		}
	}
	return errs
}

// plainName refuses a name that would have to be looked up in PATH.
func plainName(name string) error {
	if strings.Contains(name, "/") {
		return nil
	}
	for _, dir := range []string{"/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); executable(path) == nil {
			return fmt.Errorf("%q would be looked up in PATH, where it may be somebody else's program: did you mean %s?", name, path)
		}
	}
	return fmt.Errorf("%q would be looked up in PATH, where it may be somebody else's program: write an absolute path, or ./%s for one beside the configuration", name, name)
}

func executable(path string) error {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is not an executable file: chmod +x %s", path, path)
	}
	return nil
}

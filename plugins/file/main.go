// Command file is the plugin file: it appends and writes files, watches a
// directory and follows a growing file. Everything happens below one directory,
// which nothing can lead out of.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pluginhost/host/sdk"
)

// Config is the configuration of an instance.
type Config struct {
	Dir    *os.File `host:"dir" default:"." access:"directory" doc:"Everything happens below this directory; the configuration directory unless set."`
	Append string   `host:"append" doc:"File that the action append adds lines to; it is opened anew when it was moved away."`
	Sync   bool     `host:"sync" default:"false" doc:"Have each appended line on disk before it counts as handled."`
	Write  bool     `host:"write" default:"false" doc:"Allow the action write."`
	Watch  string   `host:"watch" doc:"Emit created, changed and removed for files of dir whose name matches this pattern: *.csv."`
	Tail   string   `host:"tail" doc:"Emit line for each line of this file, through rotation and truncation."`
	From   string   `host:"from" default:"end" oneof:"end|start" doc:"Where a tail begins when nothing of the file was handled yet."`
}

// Written is what append and write return.
type Written struct {
	Path  string `json:"path"`
	Bytes int    `json:"bytes" doc:"Written now."`
}

// WriteInput is what write takes.
type WriteInput struct {
	Path    string          `json:"path" doc:"Below dir."`
	Content json.RawMessage `json:"content" doc:"A string is written as it is, anything else as JSON."`
}

var (
	appendLine = sdk.Action[json.RawMessage, Written]("append", "Adds a line: a string as it is, anything else as JSON.")
	writeFile  = sdk.Action[WriteInput, Written]("write", "Writes a file whole: readers see the old one or the new one.")
	created    = sdk.Event[FileInfo]("created", "A file appeared.")
	changed    = sdk.Event[FileInfo]("changed", "A file was changed.")
	removed    = sdk.Event[FileInfo]("removed", "A file is gone.")
	newLine    = sdk.Event[Line]("line", "A line was added to the followed file.")
)

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin[Config] {
	return sdk.Plugin[Config]{
		Name: "file", Version: "0.1.0", Doc: "Appends, writes, watches and follows files.",
		Events:  sdk.Events{created, changed, removed, newLine},
		Actions: sdk.Actions{appendLine, writeFile},
		Verify:  func(_ context.Context, c Config, _ func(string, int)) error { return check(c) },
		New:     newInstance,
	}
}

func check(c Config) error {
	var errs []error
	if c.Append == "" && !c.Write && c.Watch == "" && c.Tail == "" {
		errs = append(errs, errors.New("it does nothing: set append, write, watch or tail"))
	}
	for attribute, path := range map[string]string{"append": c.Append, "tail": c.Tail} {
		if path != "" && !filepath.IsLocal(path) {
			errs = append(errs, &sdk.AttrError{Attribute: attribute, Err: fmt.Errorf("%q leads out of dir: write a path below it, and set dir", path)})
		}
	}
	if _, err := filepath.Match(c.Watch, "x"); err != nil || strings.Contains(c.Watch, "/") {
		errs = append(errs, &sdk.AttrError{Attribute: "watch", Err: fmt.Errorf("%q is not a pattern for names such as *.csv", c.Watch)})
	}
	return errors.Join(errs...)
}

func newInstance(_ context.Context, c Config, env *sdk.Env) (*sdk.Instance, error) {
	if err := check(c); err != nil {
		return nil, err
	}
	// The directory itself, whatever its path leads to by now.
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", c.Dir.Fd()))
	if err != nil {
		return nil, err
	}
	a := &appender{root: root, path: c.Append, sync: c.Sync}
	in := &sdk.Instance{
		Handlers: sdk.Handlers{
			appendLine.Handle(a.append),
			writeFile.Handle(func(_ context.Context, w WriteInput) (Written, error) {
				if !c.Write {
					return Written{}, sdk.Errorf(sdk.PermissionDenied, "set write = true to allow it")
				}
				return writeWhole(root, w)
			}),
		},
		Close: func() error { return errors.Join(a.close(), root.Close()) },
	}
	var parts []func(context.Context) error
	if c.Watch != "" {
		parts = append(parts, func(ctx context.Context) error { return watch(ctx, c, root, env) })
	}
	if c.Tail != "" {
		t := newTail(c, root, env)
		in.OnDrain = t.drain
		parts = append(parts, t.run)
	}
	if len(parts) > 0 {
		in.Run = func(ctx context.Context) error { return together(ctx, parts) }
	}
	return in, nil
}

// together runs parts until ctx ends, or one of them fails.
func together(ctx context.Context, parts []func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(parts))
	for _, p := range parts {
		go func() { ended <- p(ctx) }()
	}
	var first error
	for range parts {
		if err := <-ended; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

// Command host runs the daemon and talks to it. This package holds flags, words
// and exit codes; what they mean is in package host.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/pluginhost/host/cmd/host/internal/usage"
	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/control"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitChanges     = 2  // plan --detailed-exitcode
	exitUsage       = 64 // EX_USAGE
	exitUnreachable = 69 // EX_UNAVAILABLE
	exitRolledBack  = 75 // EX_TEMPFAIL
	exitInvalid     = 78 // EX_CONFIG
)

// exit ends the command with a code. Its message, which may be empty, goes to
// standard error.
type exit struct {
	code    int
	message string
}

func (e *exit) Error() string { return e.message }

func main() {
	host.Child()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	os.Exit(code)
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := newRoot(a)
	root.SetArgs(usage.LongFlags(args))
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var e *exit
	var u usage.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &u):
		e = &exit{exitUsage, u.Error()}
	case errors.As(err, &e):
	case errors.Is(err, control.ErrUnreachable):
		e = &exit{exitUnreachable, err.Error() + a.target.Elsewhere()}
	default:
		e = &exit{exitFailed, err.Error()}
	}
	if e.message != "" {
		_, _ = fmt.Fprintln(stderr, "host: "+e.message)
	}
	return e.code
}

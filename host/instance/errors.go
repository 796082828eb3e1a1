package instance

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/pluginhost/host/host/launch"
)

// CallError says which call to a plugin failed.
type CallError struct {
	Address string
	Call    string   // verify, prepare, commit
	Stderr  []string // the last lines, when the process ended
	Err     error
}

// Error returns one line.
func (e *CallError) Error() string {
	if errors.Is(e.Err, os.ErrDeadlineExceeded) || errors.Is(e.Err, context.DeadlineExceeded) {
		return fmt.Sprintf("%s of %s took longer than its deadline; host { %s_timeout } sets it", e.Call, e.Address, e.Call)
	}
	return fmt.Sprintf("%s of %s: %v", e.Call, e.Address, e.Err) + launch.LastWords(e.Stderr)
}

// Unwrap returns the cause.
func (e *CallError) Unwrap() error { return e.Err }

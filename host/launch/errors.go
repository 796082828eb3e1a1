package launch

import (
	"fmt"
	"strings"
)

// StartError says why a plugin process could not be started.
type StartError struct {
	Path   string   // of the executable
	Phase  string   // "exec", "handshake", "control"
	Reason string   // for people; what to do next where that is known
	Stdout []string // what it printed instead of a handshake, at most 5 lines
	Stderr []string // its last lines
	Err    error    // the cause; may be nil
}

// Error returns one line.
func (e *StartError) Error() string {
	s := fmt.Sprintf("start %s: %s", e.Path, e.Reason)
	if len(e.Stderr) > 0 {
		s += "; its last words: " + strings.Join(e.Stderr[max(0, len(e.Stderr)-3):], " | ")
	}
	return s
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

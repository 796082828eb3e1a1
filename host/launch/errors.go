package launch

import (
	"fmt"
	"slices"
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
		s += LastWords(e.Stderr)
	}
	return s
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// LastWords is the end of what a process wrote, to follow the reason why it
// ended: the panic of a Go program, which its stack would hide, else the last
// three lines. It is empty when nothing was written.
func LastWords(stderr []string) string {
	if len(stderr) == 0 {
		return ""
	}
	words := stderr[max(0, len(stderr)-3):]
	for n, line := range slices.Backward(stderr) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			words = stderr[n : n+1]
			break
		}
	}
	return "; its last words: " + strings.Join(words, " | ")
}

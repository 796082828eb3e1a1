package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
)

// Whichever clock was first, the message says which setting it was.
func TestDeadlineOfACall(t *testing.T) {
	for _, err := range []error{os.ErrDeadlineExceeded, context.DeadlineExceeded, fmt.Errorf("rpc: %w", context.DeadlineExceeded)} {
		e := &CallError{Address: "exec.bill", Call: "prepare", Err: err}
		if got := e.Error(); got != "prepare of exec.bill took longer than its deadline; host { prepare_timeout } sets it" {
			t.Error(got)
		}
	}
	e := &CallError{Address: "exec.bill", Call: "verify", Err: errors.New("its process ended"), Stderr: []string{"panic: no"}}
	if got := e.Error(); got != "verify of exec.bill: its process ended; its last words: panic: no" {
		t.Error(got)
	}
}

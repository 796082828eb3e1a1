package resource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pluginhost/host/host/spawner"
)

// BusyError says that somebody else has the address.
type BusyError struct {
	Value  string
	Holder string // "nginx (pid 123)", "a process of user www", or empty when it cannot be known
	Err    error
}

// Error says who has it and what to do.
func (e *BusyError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("%s is in use by another process: choose another address, or stop that process", e.Value)
	}
	return fmt.Sprintf("%s is in use by %s: choose another address, or stop it", e.Value, e.Holder)
}

// Unwrap returns the cause.
func (e *BusyError) Unwrap() error { return e.Err }

// DeniedError says that the daemon may not have the resource.
type DeniedError struct {
	Value string
	Err   error
}

// Error says what to do.
func (e *DeniedError) Error() string {
	return fmt.Sprintf("%s is not permitted to the daemon (%v): run it as a user that may, or choose another", e.Value, e.Err)
}

// Unwrap returns the cause.
func (e *DeniedError) Unwrap() error { return e.Err }

// explain makes an error of the spawner say what to do.
func (t *Table) explain(ctx context.Context, w wanted, err error) error {
	var e *spawner.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case spawner.Busy:
		if st, err := os.Lstat(w.listen.Path); w.bind != nil && w.listen.IsPath() && err == nil && st.Mode()&os.ModeSocket == 0 {
			return fmt.Errorf("%s is there already and is no socket: choose another path, or remove it", w.listen.Path)
		}
		if w.bind != nil {
			return &BusyError{Value: w.value, Holder: holder(w.listen, func(inodes []string) string { return t.spawner.Holder(ctx, inodes) }), Err: err}
		}
	case spawner.Denied:
		return &DeniedError{Value: w.value, Err: err}
	case spawner.NotLocal:
		if w.bind != nil && w.bind.Device != "" {
			return fmt.Errorf("%s: %w; ip link and ip address list what this machine has", w.value, err)
		}
		return fmt.Errorf("%s is not an address of this machine; ip address lists those that are: %w", w.value, err)
	case spawner.Missing:
		if w.open != nil && (w.open.Access == "read" || w.open.Access == "directory") {
			return fmt.Errorf("%s does not exist: make it first, or choose another", w.value)
		}
		return fmt.Errorf("%s: a directory on the way does not exist; make it first: %w", w.value, err)
	}
	if strings.Contains(err.Error(), w.value) {
		return err
	}
	return fmt.Errorf("%s: %w", w.value, err)
}

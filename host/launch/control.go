package launch

import (
	"context"
	"errors"
	"time"

	"github.com/pluginhost/host/host/config/secret"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// discreet takes secrets out of what a plugin says of its configuration: it was
// given them, and what it answers is shown, logged and kept.
type discreet struct {
	rpc.Control
	hide func(string) string
}

// Verify implements rpc.Control, as those that follow do.
func (d discreet) Verify(ctx context.Context, in rpc.Instance, progress func(rpc.Progress)) ([]schema.Diagnostic, error) {
	told := progress
	if progress != nil {
		told = func(p rpc.Progress) {
			p.Message = d.hide(p.Message)
			progress(p)
		}
	}
	diags, err := d.Control.Verify(ctx, in, told)
	return d.diagnostics(diags), d.failure(err)
}

func (d discreet) Prepare(ctx context.Context, in rpc.Instance) ([]schema.Diagnostic, error) {
	diags, err := d.Control.Prepare(ctx, in)
	return d.diagnostics(diags), d.failure(err)
}

func (d discreet) Commit(ctx context.Context, handle uint32) error {
	return d.failure(d.Control.Commit(ctx, handle))
}

func (d discreet) Abort(ctx context.Context, handle uint32) error {
	return d.failure(d.Control.Abort(ctx, handle))
}

func (d discreet) Pause(ctx context.Context, handle uint32, attributes []string) error {
	return d.failure(d.Control.Pause(ctx, handle, attributes))
}

func (d discreet) Drain(ctx context.Context, handle uint32, timeout time.Duration) (int, error) {
	n, err := d.Control.Drain(ctx, handle, timeout)
	return n, d.failure(err)
}

func (d discreet) diagnostics(diags []schema.Diagnostic) []schema.Diagnostic {
	for n := range diags {
		diags[n].Summary, diags[n].Detail = d.hide(diags[n].Summary), d.hide(diags[n].Detail)
	}
	return diags
}

// failure hides in an error of the plugin's; others are host's own.
func (d discreet) failure(err error) error {
	var e *wire.Error
	if !errors.As(err, &e) {
		return err
	}
	return secret.Error(e, d.hide)
}

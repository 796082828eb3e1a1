package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/generation"
	"github.com/pluginhost/host/host/internal/redact"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/host/observe/metrics"
	"github.com/pluginhost/host/host/route"
	"github.com/pluginhost/host/host/spawner/client"
	"github.com/pluginhost/host/sdk/wire"
)

// daemon answers the control API. It holds what it asks and decides nothing.
type daemon struct {
	options  Options
	settings config.Host
	dir      string
	started  time.Time
	base     *base
	catalog  *catalog.Catalog
	router   *route.Router
	recorder *observe.Recorder
	audit    *observe.Audit
	applier  *apply.Applier
	store    *generation.Store
	log      *generation.Log
	secrets  *redact.Values
	aside    aside
}

var _ control.Backend = (*daemon)(nil)

// Status implements control.Backend.
func (d *daemon) Status(context.Context) (observe.Status, error) {
	s := observe.Status{Light: observe.Green, Version: d.options.Version, Node: d.settings.Node,
		Pid: os.Getpid(), Started: d.started, ConfigDir: d.dir, Aside: d.aside.why(d)}
	d.applier.Status(&s)
	s.Events, s.Routes = d.router.Counts()
	s.Reasons = d.router.Reasons()
	dead, _ := d.router.Dead()
	s.Dead = len(dead)
	blocked, refused := d.router.Blocked(), d.audit.Refused()
	for n := range s.Instances {
		i := &s.Instances[n]
		i.Waits, i.Refused = blocked[i.Address], refused[i.Address]
		d.secrets.Instance(i)
	}
	s.Subsystems = []observe.Subsystem{d.catalogStatus(s.Instances), configStatus(s.LastReload), d.base.status()}
	if d.applier.Config() == nil {
		s.Light, s.Reason = observe.Yellow, "starting: nothing is served yet"
	}
	for _, i := range s.Instances {
		if i.Light.Worse(s.Light) != s.Light {
			s.Light, s.Reason = i.Light, i.Address+": "+i.Reason
		}
	}
	for _, x := range s.Subsystems {
		if x.Light.Worse(s.Light) != s.Light {
			s.Light, s.Reason = x.Light, x.Name+": "+x.Reason
		}
	}
	return s, nil
}

// snapshot is what the metrics are made of.
func (d *daemon) snapshot(ctx context.Context) (metrics.Snapshot, error) {
	s, err := d.Status(ctx)
	return metrics.Snapshot{Status: s, Refused: d.router.Refused(), Restarts: client.Restarts()}, err
}

func (d *daemon) catalogStatus(instances []observe.Instance) observe.Subsystem {
	s := observe.Subsystem{Name: "catalog", Light: observe.Green}
	var rejected, gone []string
	there := map[string]bool{} // by digest
	for _, e := range d.catalog.Snapshot().Entries {
		there[e.Digest] = true
		if e.State == catalog.Rejected {
			rejected = append(rejected, e.Name)
		}
	}
	for _, i := range instances {
		if !there[i.Digest] && !slices.Contains(gone, i.Plugin) {
			gone = append(gone, i.Plugin)
		}
	}
	if len(gone) > 0 {
		s.Light = observe.Yellow
		s.Reason = fmt.Sprintf("the executable of %s that runs is not in the plugin directory any more, so that it cannot be started again; host reload takes what is there", strings.Join(gone, ", "))
		return s
	}
	if len(rejected) > 0 {
		s.Light = observe.Yellow
		what := strings.Join(rejected, ", ")
		if len(rejected) > 3 {
			what = fmt.Sprintf("%d executables", len(rejected))
		}
		s.Reason = what + " cannot be used; host plugins list says why"
	}
	return s
}

func configStatus(last *observe.Reload) observe.Subsystem {
	s := observe.Subsystem{Name: "config", Light: observe.Green}
	if last != nil && (last.Outcome == string(apply.Invalid) || last.Outcome == string(apply.RolledBack)) {
		s.Light = observe.Yellow
		s.Reason = fmt.Sprintf("the last reload was refused (%s); generation %d keeps serving; host reload says what is wrong", last.Message, last.Generation)
	}
	return s
}

// Plugins implements control.Backend.
func (d *daemon) Plugins(context.Context) ([]catalog.Entry, error) {
	return d.catalog.Snapshot().Entries, nil
}

// Plan implements control.Backend.
func (d *daemon) Plan(ctx context.Context, hold time.Duration, progress func(apply.Progress)) (apply.Result, error) {
	return d.applier.Plan(ctx, hold, progress)
}

// Reload implements control.Backend.
func (d *daemon) Reload(ctx context.Context, req apply.Request, progress func(apply.Progress)) (apply.Result, error) {
	command := "host reload"
	switch {
	case req.Return && req.To != 0:
		command = fmt.Sprintf("host rollback %d", req.To)
	case req.Return:
		command = "host rollback"
	case req.Plan != nil:
		command = "host reload --plan"
	}
	if req.Confirm > 0 {
		command += " --confirm " + req.Confirm.String()
	}
	req.Who = who(ctx, command)
	r, err := d.applier.Reload(ctx, req, progress)
	d.report(command, r, err)
	return r, err
}

// who makes the call of ctx.
func who(ctx context.Context, command string) generation.Who {
	uid, ok := control.Peer(ctx)
	if !ok {
		return generation.System(command)
	}
	return generation.By(uid, command)
}

// Confirm implements control.Backend.
func (d *daemon) Confirm(ctx context.Context) (uint64, error) {
	g, err := d.applier.Confirm(who(ctx, "host confirm"))
	if errors.Is(err, apply.ErrNotWaiting) {
		err = &wire.Error{Code: wire.FailedPrecondition, Message: err.Error()}
	}
	return g, err
}

// Generations implements control.Backend.
func (d *daemon) Generations(context.Context) (control.Generations, error) {
	now := d.applier.Generation()
	g := control.Generations{Attempts: d.log.List()}
	for _, r := range d.store.List() {
		g.Kept = append(g.Kept, control.Kept{Generation: r.Generation, Time: r.Time, Who: r.Who, Summary: r.Summary,
			From: r.From, Serving: r.Generation == now, Confirm: r.Confirm})
	}
	return g, nil
}

// reload reloads for a reason of the daemon's own.
func (d *daemon) reload(ctx context.Context, why string) {
	r, err := d.applier.Reload(ctx, apply.Request{Who: generation.System(why)}, nil)
	d.report(why, r, err)
	for _, x := range r.Diagnostics {
		d.options.Log.Error(x.Summary, "detail", x.Detail, "file", x.File, "line", x.Line, "column", x.Column)
	}
}

func (d *daemon) report(why string, r apply.Result, err error) {
	if err != nil {
		d.options.Log.Error("reload failed", "why", why, "error", err)
		return
	}
	level := d.options.Log.Info
	if r.Outcome == apply.Invalid || r.Outcome == apply.RolledBack {
		level = d.options.Log.Error
	}
	fields := []any{"why", why, "outcome", r.Outcome, "generation", r.Generation, "elapsed", r.Elapsed.Round(time.Microsecond)}
	if r.Message != "" {
		fields = append(fields, "message", r.Message)
	}
	level("reload ended", fields...)
}

// upgrades reports whether a changed executable is to be used at once.
func (d *daemon) upgrades() bool {
	c := d.applier.Config()
	return d.options.Dev || c != nil && c.Host.OnChange == "upgrade"
}

// outdated reports whether an instance is served by another executable than
// the one that the plugin directory has now for its plugin.
func (d *daemon) outdated() bool {
	c := d.applier.Config()
	if c == nil {
		return false
	}
	now := d.catalog.Snapshot()
	return slices.ContainsFunc(c.Instances, func(i config.Instance) bool {
		_, digest, ok := now.Manifest(i.Plugin)
		return ok && digest != i.Digest
	})
}

// Tail implements control.Backend.
func (d *daemon) Tail(ctx context.Context, backlog int, match func(*observe.Entry) bool, f func(observe.Entry) error) error {
	return d.recorder.Tail(ctx, backlog, match, func(e observe.Entry) error { return f(d.secrets.Entry(e)) })
}

// defaultEmitTimeout is the deadline of an event sent by hand.
const defaultEmitTimeout = 30 * time.Second

// Emit implements control.Backend.
func (d *daemon) Emit(ctx context.Context, req control.EmitRequest) (control.EmitResult, error) {
	source, index, err := d.source(req.Type)
	if err != nil {
		return control.EmitResult{}, err
	}
	if len(req.Data) > 0 && !json.Valid(req.Data) {
		return control.EmitResult{}, &wire.Error{Code: wire.InvalidArgument, Message: "the data is not JSON"}
	}
	timeout := req.Timeout
	if timeout <= 0 {
		timeout = defaultEmitTimeout
	}
	outcome := make(replier, 1)
	source.Replier = outcome
	e := &wire.Emit{Promise: 1, Type: uint32(index), Event: wire.Event{
		ID: wire.NewID(), Subject: req.Subject, Data: req.Data,
		Deadline: time.Now().Add(timeout).UnixNano(),
	}}
	d.router.Emit(source, e)
	select {
	case s := <-outcome:
		return d.outcome(e.Event.ID, s), nil
	case <-ctx.Done():
	}
	select {
	case s := <-outcome: // the daemon has drained, and ends
		return d.outcome(e.Event.ID, s), nil
	default:
		return control.EmitResult{}, ctx.Err()
	}
}

// outcome is what whoever emits by hand is told. A value is data, and is theirs.
func (d *daemon) outcome(id wire.ID, s *wire.Settle) control.EmitResult {
	r := control.EmitResult{ID: id, Value: s.Value, Err: s.Err}
	d.secrets.Err(&r.Err)
	return r
}

// source finds whose event a type is.
func (d *daemon) source(eventType string) (*route.Source, int, error) {
	var known []string
	c := d.applier.Config()
	if c == nil {
		return nil, 0, &wire.Error{Code: wire.Unavailable, Message: "no generation is serving yet"}
	}
	for _, i := range c.Instances {
		var names []string
		for _, e := range i.Manifest.Events {
			names = append(names, e.Name)
			known = append(known, i.Address+"."+e.Name)
		}
		if name, ok := strings.CutPrefix(eventType, i.Address+"."); ok {
			if n := slices.Index(names, name); n >= 0 {
				return &route.Source{Address: i.Address, Events: names}, n, nil
			}
		}
	}
	message := fmt.Sprintf("no instance emits %s", eventType)
	if len(known) > 0 {
		message += "; there are " + strings.Join(known[:min(len(known), 10)], ", ")
	}
	return nil, 0, &wire.Error{Code: wire.NotFound, Message: message}
}

// replier takes the outcome of one event.
type replier chan *wire.Settle

func (r replier) Accept(uint64) error { return nil }

func (r replier) Flush() {}

func (r replier) Settle(s *wire.Settle) error {
	c := *s
	c.Value = slices.Clone(s.Value)
	r <- &c // there is room: a promise settles once
	return nil
}

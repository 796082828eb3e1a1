package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/instance/internal/trouble"
	"github.com/pluginhost/host/host/launch"
	"github.com/pluginhost/host/sdk/schema"
	"github.com/pluginhost/host/sdk/wire"
)

const (
	stopGrace    = 5 * time.Second  // for a process to end when asked
	maxBackoff   = 30 * time.Second // between restarts
	reviveBudget = 30 * time.Second // to prepare and commit all instances again
)

// worker keeps one process running for the instances that share it: it starts
// it, serves it, and starts it again when it ends by itself, within the bounds
// of their restart settings.
type worker struct {
	set    *Set
	key    string
	config config.Instance // of the first instance: plugin and process settings
	start  time.Duration   // bound of a start
	alive  context.Context // of the worker
	stop   context.CancelFunc
	done   chan struct{} // closed when run has returned

	mu        sync.Mutex
	instances []*Instance
	life      *life         // nil while there is none
	err       error         // why there will be none; set before done is closed
	changed   chan struct{} // closed and replaced when life or err changes
	restarts  int
	shaken    time.Time // until when new instances keep away: the process ended by itself
	stderr    []string  // the last words of the process that ended last
	ended     time.Time // when it did by itself
	why       string    // and how
}

func newWorker(s *Set, key string, c config.Instance, start time.Duration) *worker {
	w := &worker{set: s, key: key, config: c, start: start, done: make(chan struct{}), changed: make(chan struct{})}
	w.alive, w.stop = context.WithCancel(s.life)
	return w
}

func (w *worker) join(i *Instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.instances = append(w.instances, i)
}

// shaky reports whether the process has ended by itself of late. What it runs
// may end it again, and what is to mend that must not be asked there.
func (w *worker) shaky() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.shaken)
}

// part removes an instance and reports whether it was there and the last.
func (w *worker) part(i *Instance) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := slices.Index(w.instances, i)
	if n < 0 {
		return false
	}
	w.instances = slices.Delete(w.instances, n, n+1)
	return len(w.instances) == 0
}

func (w *worker) members() []*Instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.instances)
}

// current waits for a running process.
func (w *worker) current(ctx context.Context) (*life, error) {
	for {
		w.mu.Lock()
		l, err, changed := w.life, w.err, w.changed
		w.mu.Unlock()
		if l != nil || err != nil {
			return l, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("start of plugin %s: %w", w.config.Plugin, context.Cause(ctx))
		}
	}
}

// set publishes a life, the lack of one, or that there will be none.
func (w *worker) publish(l *life, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.life, w.err = l, err
	close(w.changed)
	w.changed = make(chan struct{})
}

// status returns the life, nil while there is none, how often it was started
// again, the last words of the one before, and how that ended, if of late.
func (w *worker) status() (l *life, restarts int, stderr []string, ended string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ago := time.Since(w.ended); ago < trouble.Recent {
		ended = fmt.Sprintf("its process ended %s ago and was started again: %s", ago.Round(time.Second), w.why)
	}
	return w.life, w.restarts, w.stderr, ended
}

// again asks for a restart of an instance whose process ended between its
// prepare and its commit. Where the next process already runs, that missed it.
func (w *worker) again(i *Instance) {
	w.mu.Lock()
	l := w.life
	w.mu.Unlock()
	if l != nil {
		l.kill("it ended before the commit of " + i.Address())
	}
}

// run is the worker's only goroutine.
func (w *worker) run() {
	defer close(w.done)
	log := w.set.o.Log.With("plugin", w.config.Plugin)
	var ends []time.Time // recent ends that nobody asked for
	for first := true; ; first = false {
		reason, err := w.once()
		if w.alive.Err() != nil {
			w.publish(nil, errors.New("the process was stopped"))
			return
		}
		if first && err != nil {
			// Whoever wanted it is told; there is nothing to supervise yet.
			w.retire(err)
			<-w.alive.Done()
			return
		}
		if err != nil {
			reason = err.Error()
		}
		policy := w.policy()
		now := time.Now()
		ends = slices.DeleteFunc(append(ends, now), func(t time.Time) bool { return now.Sub(t) > policy.Within })
		if len(ends) > policy.Max {
			log.Error("plugin process ended too often", "reason", reason, "ends", len(ends), "within", policy.Within)
			w.fail(fmt.Sprintf("ended %d times within %s, last: %s; mend it and run host reload", len(ends), policy.Within, reason))
			<-w.alive.Done()
			return
		}
		w.mu.Lock()
		w.shaken, w.ended, w.why = now.Add(policy.Within), now, reason
		w.mu.Unlock()
		pause := min(policy.Backoff<<min(len(ends)-1, 20), maxBackoff)
		log.Warn("plugin process ended, restarting", "reason", reason, "in", pause)
		select {
		case <-time.After(pause):
		case <-w.alive.Done():
			w.publish(nil, errors.New("the process was stopped"))
			return
		}
		w.mu.Lock()
		w.restarts++
		w.mu.Unlock()
	}
}

// once runs one process from its start to its end. The error says why it did
// not start; the reason why it ended.
func (w *worker) once() (reason string, err error) {
	exe, err := w.set.o.Open(w.config.Digest)
	if err != nil {
		return "", fmt.Errorf("plugin %s: %w", w.config.Plugin, err)
	}
	p, err := w.set.o.Launcher.Start(w.alive, launch.Spec{
		Executable: exe, Path: exe.Name(), Name: w.config.Plugin, Env: w.config.Process.Env,
		Start: sandbox(w.config), Stdout: w.set.o.Stdout, Timeout: w.start,
	})
	_ = exe.Close()
	if err != nil {
		var start *launch.StartError
		if errors.As(err, &start) {
			w.mu.Lock()
			w.stderr = start.Stderr
			w.mu.Unlock()
		}
		return "", err
	}
	l := newLife(p, w.config.Plugin, w.set.pool, w.set.o.Audit)
	revived := make(chan error, 1)
	go func() {
		err := w.revive(l)
		if err != nil {
			l.kill(err.Error())
		}
		revived <- err
	}()
	l.serve(w.alive, w.set.o.Router)
	err = <-revived
	w.lost(l)
	if err != nil && w.alive.Err() == nil {
		return "", err
	}
	return l.reason(), nil
}

// revive prepares and commits again the instances that the last process had,
// then shows the process to new ones.
func (w *worker) revive(l *life) error {
	ctx, cancel := context.WithTimeout(w.alive, reviveBudget)
	defer cancel()
	if err := w.reviveAll(ctx, l); err != nil {
		return err
	}
	w.publish(l, nil)
	// An instance whose commit missed the last process may have asked for
	// this one after it was passed over and before it was shown.
	return w.reviveAll(ctx, l)
}

func (w *worker) reviveAll(ctx context.Context, l *life) error {
	for _, i := range w.members() {
		if i.State() != Restarting {
			continue
		}
		diags, err := i.prepare(ctx, l)
		if err != nil {
			return err
		}
		for _, d := range diags {
			if d.Severity == schema.Error {
				return fmt.Errorf("prepare of %s: %s %s", i.Address(), d.Summary, d.Detail)
			}
		}
		i.mu.Lock()
		s := i.seat
		i.mu.Unlock()
		if s == nil {
			return fmt.Errorf("prepare of %s: the process ended", i.Address())
		}
		if err := i.open(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// lost takes the end of a process to its instances: what is in flight there is
// given back to the router.
func (w *worker) lost(l *life) {
	w.publish(nil, nil)
	stderr := l.process.Stderr()
	w.mu.Lock()
	w.stderr = stderr
	w.mu.Unlock()
	reason := l.reason()
	crashed := crash(reason, stderr)
	for _, i := range w.members() {
		i.mu.Lock()
		s := i.seat
		if s != nil && s.life == l {
			i.seat = nil
			if i.state == Ready {
				i.state, i.reason = Restarting, reason
			}
		}
		i.mu.Unlock()
		if s != nil && s.life == l {
			s.close(crashed)
		}
	}
	if w.alive.Err() == nil {
		for _, i := range w.members() {
			if i.State() == Restarting {
				w.set.o.Router.EmitHost("instance.crashed", map[string]string{"instance": i.Address(), "reason": reason})
			}
		}
	}
}

// crash is how the end of a process rejects what it had in flight.
func crash(reason string, stderr []string) *wire.Error {
	message := "the plugin process ended: " + reason + launch.LastWords(stderr)
	details, _ := json.Marshal(map[string]any{"exit": reason, "stderr": stderr}) // strings cannot fail
	return &wire.Error{Code: wire.Unavailable, Reason: wire.ReasonCrashed, Message: message,
		Retryable: true, Details: details}
}

// retire says that there is no process to be had, and lets no one join.
func (w *worker) retire(err error) {
	w.set.mu.Lock()
	w.set.forget(w)
	w.set.mu.Unlock()
	w.publish(nil, err)
}

// fail turns the instances red. What waits for them is rejected.
func (w *worker) fail(reason string) {
	w.retire(errors.New(reason))
	w.mu.Lock()
	stderr := w.stderr
	w.mu.Unlock()
	for _, i := range w.members() {
		i.mu.Lock()
		failed := i.state == Restarting
		if failed {
			i.state, i.reason = Failed, reason
		}
		i.mu.Unlock()
		if failed {
			e := crash(reason, stderr)
			e.Instance = i.Address()
			w.set.o.Router.Forget(i.Address(), e)
		}
	}
}

// policy returns the most generous restart settings of the instances.
func (w *worker) policy() config.Restart {
	p := w.config.Process.Restart
	for _, i := range w.members() {
		i.mu.Lock()
		r := i.restart
		i.mu.Unlock()
		if r.Max > p.Max {
			p = r
		}
	}
	return p
}

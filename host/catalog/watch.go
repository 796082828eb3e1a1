package catalog

import (
	"context"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is how long the directory must be quiet before it is scanned, so that
// one copy is one scan.
const quiet = 50 * time.Millisecond

// rewatch is how long it takes until a directory that could not be watched is
// tried again.
const rewatch = time.Second

// Run watches until ctx ends.
func (c *Catalog) Run(ctx context.Context) error {
	defer c.closeAll()
	poll := time.NewTicker(c.o.Poll)
	defer poll.Stop()
	var watcher *fsnotify.Watcher
	defer func() {
		if watcher != nil {
			_ = watcher.Close()
		}
	}()
	for ctx.Err() == nil {
		if watcher == nil {
			if watcher = c.watch(); watcher != nil {
				c.rescan(ctx) // what came before the watch began
			}
		}
		var events <-chan fsnotify.Event
		var faults <-chan error
		var again <-chan time.Time
		if watcher != nil {
			events, faults = watcher.Events, watcher.Errors
		} else { // the directory may be on its way: a deployment replaces it
			again = time.After(rewatch)
		}
		lost := false
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			lost = !ok || c.gone(e)
			if ok {
				lost = c.drain(ctx, events) || lost
			}
		case err, ok := <-faults:
			lost = !ok
			if ok { // an overflow: something was missed, the scan finds it
				c.o.Log.Debug("watching the plugin directory", "error", err)
			}
		case <-again:
			continue
		case <-poll.C:
			lost = true // a new watch, should the directory be another one now
		}
		if lost && watcher != nil {
			_ = watcher.Close()
			watcher = nil
			continue
		}
		c.rescan(ctx)
	}
	return nil
}

// rescan scans until nothing is pending any more.
func (c *Catalog) rescan(ctx context.Context) {
	for {
		pending, err := c.scan(ctx)
		if err != nil && ctx.Err() == nil {
			c.o.Log.Warn("the plugin directory cannot be read", "error", err)
		}
		if !pending || err != nil {
			return
		}
	}
}

// watch watches the directory, or returns nil where that is not possible: the
// slow poll goes on.
func (c *Catalog) watch() *fsnotify.Watcher {
	w, err := fsnotify.NewWatcher()
	if err == nil {
		if err = w.Add(c.o.Dir); err == nil {
			return w
		}
		_ = w.Close()
	}
	c.o.Log.Debug("the plugin directory is polled, not watched", "every", c.o.Poll, "error", err)
	return nil
}

// gone reports whether the directory itself was moved away or removed.
func (c *Catalog) gone(e fsnotify.Event) bool {
	return e.Name == c.o.Dir && e.Has(fsnotify.Remove|fsnotify.Rename)
}

// drain waits until no event has come for a moment. It reports whether the
// watch has ended, or the directory is gone.
func (c *Catalog) drain(ctx context.Context, events <-chan fsnotify.Event) (lost bool) {
	for end := time.After(settled); ; {
		select {
		case e, ok := <-events:
			if !ok {
				return true
			}
			lost = lost || c.gone(e)
		case <-time.After(quiet):
			return lost
		case <-end:
			return lost
		case <-ctx.Done():
			return lost
		}
	}
}

// closeAll lets go of every executable.
func (c *Catalog) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for digest, h := range c.held {
		_ = h.f.Close()
		delete(c.held, digest)
	}
}

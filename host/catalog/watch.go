package catalog

import (
	"context"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is how long the directory must be quiet before it is scanned, so that
// one copy is one scan.
const quiet = 50 * time.Millisecond

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
			watcher = c.watch()
		}
		var events <-chan fsnotify.Event
		var faults <-chan error
		if watcher != nil {
			events, faults = watcher.Events, watcher.Errors
		}
		lost := false
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			// The directory itself may have been moved away or replaced.
			lost = !ok || e.Name == c.o.Dir && e.Has(fsnotify.Remove|fsnotify.Rename)
			if ok && !drained(ctx, events) {
				return nil
			}
		case err, ok := <-faults:
			lost = !ok
			if ok { // an overflow: something was missed, the scan finds it
				c.o.Log.Debug("watching the plugin directory", "error", err)
			}
		case <-poll.C:
			lost = true // a new watch, should the directory be another one now
		}
		if lost && watcher != nil {
			_ = watcher.Close()
			watcher = nil
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

// drained waits until no event has come for a moment; false when ctx ended.
func drained(ctx context.Context, events <-chan fsnotify.Event) bool {
	for end := time.After(settled); ; {
		select {
		case _, ok := <-events:
			if !ok {
				return true
			}
		case <-time.After(quiet):
			return true
		case <-end:
			return true
		case <-ctx.Done():
			return false
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

package work

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginhost/host/sdk/wire"
)

var errOver = errors.New("nothing more is read")

// reading is a crew whose next takes functions, each of which puts calls.
type reading struct {
	crew   *Crew
	pool   *Pool
	slab   Slab
	frames chan func(put func(Handler))
	reads  atomic.Int32 // calls of next
	rests  atomic.Int32
	rested atomic.Int32 // calls
	ended  chan error
}

func read(limit int) *reading {
	r := &reading{frames: make(chan func(func(Handler))), ended: make(chan error, 1)}
	r.crew = NewCrew(func() bool { return false })
	r.pool = NewPool(limit, func(c *Call) { c.Run() }, func(calls int, _ bool) {
		r.rests.Add(1)
		r.rested.Add(int32(calls))
	})
	go func() {
		r.ended <- r.crew.Run(func() error {
			r.reads.Add(1)
			f, ok := <-r.frames
			if !ok {
				return errOver
			}
			f(func(h Handler) {
				r.pool.Put(r.slab.Call("do", h, false, &wire.Deliver{}))
				r.crew.Feed(r.pool)
			})
			return nil
		})
	}()
	return r
}

func (r *reading) end(t *testing.T) {
	t.Helper()
	close(r.frames)
	if err := <-r.ended; !errors.Is(err, errOver) {
		t.Error(err)
	}
	r.pool.Close()
	synctest.Wait()
}

func nothing(context.Context, []byte) ([]byte, error) { return nil, nil }

// Handlers that are quick need no worker, and are told to rest once.
func TestLeaderHandles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := read(10)
		for range 3 {
			r.frames <- func(put func(Handler)) { put(nothing); put(nothing); put(nothing) }
		}
		synctest.Wait()
		if r.pool.workers != 0 || r.rests.Load() != 3 || r.rested.Load() != 9 || r.reads.Load() != 4 {
			t.Errorf("%d workers, %d rests of %d, %d reads", r.pool.workers, r.rests.Load(), r.rested.Load(), r.reads.Load())
		}
		r.end(t)
	})
}

// A handler that blocks holds up neither reading nor the calls behind it, for
// more than a moment; what was answered before it has gone out by then.
func TestLeadPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := read(10)
		blocked, done := make(chan struct{}), 0
		r.frames <- func(put func(Handler)) {
			put(nothing)
			put(func(context.Context, []byte) ([]byte, error) { <-blocked; return nil, nil })
			put(func(context.Context, []byte) ([]byte, error) { done++; return nil, nil })
		}
		time.Sleep(5 * tick)
		synctest.Wait()
		if r.reads.Load() != 2 || done != 1 || r.rested.Load() != 2 {
			t.Errorf("%d reads, %d done, %d rested", r.reads.Load(), done, r.rested.Load())
		}
		// For a while workers handle what comes, so that nothing waits at all.
		at := time.Now()
		for range 3 {
			r.frames <- func(put func(Handler)) {
				put(func(context.Context, []byte) ([]byte, error) { <-blocked; return nil, nil })
			}
		}
		synctest.Wait()
		if r.reads.Load() != 5 || r.pool.count != 4 || !time.Now().Equal(at) {
			t.Errorf("%d reads, %d calls after %s", r.reads.Load(), r.pool.count, time.Since(at))
		}
		close(blocked)
		<-r.pool.Idle()
		for range slowLeast {
			r.frames <- func(put func(Handler)) { put(nothing) }
			synctest.Wait()
		}
		if r.pool.shy() || r.pool.count != 0 {
			t.Errorf("quick calls are the workers' for ever; %d are left", r.pool.count)
		}
		r.end(t)
	})
}

// A handler that says that it waits passes the lead on at once, and once.
func TestLeadYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := read(10)
		answer, at := make(chan struct{}), time.Now()
		r.frames <- func(put func(Handler)) {
			put(func(ctx context.Context, _ []byte) ([]byte, error) {
				c, _ := Of(ctx)
				c.Yield()
				c.Yield()
				<-answer // which the next frame has
				return nil, nil
			})
		}
		r.frames <- func(func(Handler)) { close(answer) }
		<-r.pool.Idle()
		synctest.Wait()
		if !time.Now().Equal(at) || r.reads.Load() != 3 {
			t.Errorf("%d reads after %s", r.reads.Load(), time.Since(at))
		}
		r.end(t)
	})
}

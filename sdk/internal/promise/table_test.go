package promise

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginhost/host/sdk/wire"
)

// add adds a promise for which there is room.
func add(t *testing.T, table *Table) *Outcome {
	t.Helper()
	o := &Outcome{}
	if _, err := table.Add(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return o
}

// Several may wait for one promise, with contexts that end or not, and a waker
// that is used again wakes nobody else.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		for range 100 {
			one, next := add(t, &table), add(t, &table)
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			var wait sync.WaitGroup
			for n := range 4 {
				wait.Go(func() {
					ctx := t.Context()
					if n%2 == 0 {
						ctx = short
					}
					value, err := one.Wait(ctx)
					if n%2 == 0 && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s, %v before it is settled", value, err)
					}
					if n%2 == 1 && (err != nil || string(value) != "7") {
						t.Errorf("%s, %v", value, err)
					}
				})
			}
			time.Sleep(2 * time.Second)
			table.Settle(one.Number(), []byte("7"), nil)
			wait.Wait()
			cancel()
			// A context that ends in the moment of the settling.
			both := add(t, &table)
			short, cancel = context.WithCancel(t.Context())
			wait.Go(func() { _, _ = both.Wait(short) })
			synctest.Wait()
			cancel()
			table.Settle(both.Number(), nil, nil)
			wait.Wait()
			pending, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := next.Wait(pending); err == nil {
				t.Error("the other promise was woken too")
			}
			cancel()
			table.Settle(next.Number(), nil, nil)
			if _, err := next.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// Who finds the window full waits in order until host has accepted or settled
// something, ctx ends or the lane.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			table Table
			first []*Outcome
			wait  sync.WaitGroup
			mu    sync.Mutex
			came  []int
		)
		for range wire.EmitWindow {
			first = append(first, add(t, &table))
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := table.Add(short, &Outcome{}); err == nil || err.Code != wire.DeadlineExceeded {
			t.Errorf("%v with a full window", err)
		}
		for n := range 4 {
			wait.Go(func() {
				_, err := table.Add(t.Context(), &Outcome{})
				if n == 3 && (err == nil || err.Code != wire.Unavailable) || n < 3 && err != nil {
					t.Errorf("%d: %v", n, err)
				}
				mu.Lock()
				came = append(came, n)
				mu.Unlock()
			})
			synctest.Wait()
		}
		// The last is only accepted once: the window has one place more.
		last := first[wire.EmitWindow-1].Number()
		table.Take([]Answer{{Number: last, Accept: true}, {Number: last, Accept: true}})
		synctest.Wait()
		table.Settle(last, nil, nil) // which makes no room: it was accepted
		synctest.Wait()
		if !slices.Equal(came, []int{0}) {
			t.Errorf("%v came for one accept", came)
		}
		table.Settle(first[0].Number(), nil, nil)
		synctest.Wait()
		table.Settle(first[1].Number(), nil, &wire.Error{Code: wire.Aborted})
		synctest.Wait()
		if !slices.Equal(came, []int{0, 1, 2}) {
			t.Errorf("%v came, one by one", came)
		}
		table.Close(&wire.Error{Code: wire.Unavailable})
		wait.Wait()
		for n, want := range []wire.Code{0, wire.Aborted, wire.Unavailable} {
			var e *wire.Error
			if _, err := first[n].Wait(t.Context()); errors.As(err, &e) != (want != 0) || e != nil && e.Code != want {
				t.Errorf("promise %d: %v, want %v", n, err, want)
			}
		}
	})
}

// An answer that comes late is not taken for the promise that has the slot now.
func TestLateAnswer(t *testing.T) {
	var table Table
	old := add(t, &table)
	table.Settle(old.Number(), []byte("1"), nil)
	o := add(t, &table)
	if len(table.slots) != 1 {
		t.Fatalf("%d slots for one promise at a time", len(table.slots))
	}
	table.Take([]Answer{{Number: old.Number(), Accept: true}, {Number: old.Number()}, {Number: 7}, {Number: 1 << 60}})
	if o.Settled() || table.unaccepted != 1 || table.pending != 1 {
		t.Errorf("settled %t, %d unaccepted, %d pending", o.Settled(), table.unaccepted, table.pending)
	}
	if value, err := old.Wait(t.Context()); string(value) != "1" || err != nil {
		t.Errorf("%s, %v", value, err)
	}
}

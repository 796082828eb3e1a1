package observe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

var errEnough = errors.New("enough")

// show is an entry in one word.
func show(e Entry) string {
	if e.Step == Missed {
		return fmt.Sprint("missed ", e.Attempt)
	}
	return fmt.Sprint(e.Subject, e.Seq)
}

func record(r *Recorder, subjects ...string) {
	for _, s := range subjects {
		r.Record(&Entry{Step: Emitted, Subject: s})
	}
}

func TestTailBacklog(t *testing.T) {
	isA := func(e *Entry) bool { return e.Subject == "a" }
	for name, c := range map[string]struct {
		size, backlog int
		match         func(*Entry) bool
		want          []string
	}{
		"all":                                 {10, 10, nil, []string{"a1", "b2", "a3", "b4", "a5"}},
		"none":                                {10, 0, nil, nil},
		"last two":                            {10, 2, nil, []string{"b4", "a5"}},
		"last matching":                       {10, 2, isA, []string{"a3", "a5"}},
		"as far as kept, and that is no miss": {3, 10, nil, []string{"a3", "b4", "a5"}},
		"ring of one":                         {0, 10, isA, []string{"a5"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRecorder(c.size)
			record(r, "a", "b", "a", "b", "a")
			var got []string
			ctx, cancel := context.WithCancel(t.Context())
			if len(c.want) == 0 {
				cancel()
			}
			err := r.Tail(ctx, c.backlog, c.match, func(e Entry) error {
				got = append(got, show(e))
				if len(got) == len(c.want) {
					cancel()
				}
				return nil
			})
			cancel()
			if !errors.Is(err, context.Canceled) || !slices.Equal(got, c.want) {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestTailLongBacklog(t *testing.T) {
	r := NewRecorder(5000)
	for range 7000 {
		record(r, "x")
	}
	next := uint64(7000 - 1000 + 1)
	err := r.Tail(t.Context(), 1000, nil, func(e Entry) error {
		if e.Seq != next {
			return fmt.Errorf("entry %d, want %d", e.Seq, next)
		}
		if next++; next > 7000 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Error(err)
	}
}

func TestTailFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecorder(100)
		record(r, "old")
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		done := make(chan error)
		go func() {
			done <- r.Tail(ctx, 0, func(e *Entry) bool { return e.Subject != "skip" }, func(e Entry) error {
				got = append(got, show(e))
				return nil
			})
		}()
		synctest.Wait()
		record(r, "a", "skip")
		synctest.Wait()
		record(r, "b")
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if want := []string{"a2", "b4"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if len(r.tails) != 0 {
			t.Error("a tail that ended is still told")
		}
	})
}

// A reader that sleeps misses entries, is told how many, and delays nobody.
func TestSlowReaderMisses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecorder(10)
		slow := make(chan struct{})
		var got []string
		done := make(chan error)
		go func() {
			done <- r.Tail(t.Context(), 0, nil, func(e Entry) error {
				got = append(got, show(e))
				if e.Seq == 1 {
					<-slow
				}
				if e.Seq == 35 {
					return errEnough
				}
				return nil
			})
		}()
		synctest.Wait()
		record(r, "a")
		synctest.Wait()
		for range 34 {
			record(r, "b") // never waits for the reader
		}
		close(slow)
		if err := <-done; !errors.Is(err, errEnough) {
			t.Error(err)
		}
		want := []string{"a1", "missed 24", "b26", "b27", "b28", "b29", "b30", "b31", "b32", "b33", "b34", "b35"}
		if !slices.Equal(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
	})
}

func TestTailEndsWithItsReader(t *testing.T) {
	r := NewRecorder(10)
	record(r, "a", "b")
	n := 0
	err := r.Tail(t.Context(), 10, nil, func(Entry) error { n++; return errEnough })
	if !errors.Is(err, errEnough) || n != 1 {
		t.Errorf("%d entries, then %v", n, err)
	}
}

// Every reader sees every entry once and in order, or as missed.
func TestManyWritersAndReaders(t *testing.T) {
	const writers, each = 4, 500
	r := NewRecorder(64)
	var wg sync.WaitGroup
	for range 3 {
		ready := make(chan struct{})
		wg.Go(func() {
			var seen uint64
			_ = r.Tail(t.Context(), 1, nil, func(e Entry) error {
				switch {
				case e.Step == Missed:
					seen += uint64(e.Attempt)
				case seen == 0: // the backlog
					seen = e.Seq
					close(ready)
				default:
					if seen++; e.Seq != seen {
						t.Errorf("entry %d after %d", e.Seq, seen-1)
					}
				}
				if e.Subject == "last" {
					return errEnough
				}
				return nil
			})
		})
		record(r, "first")
		<-ready
	}
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for range each {
				record(r, "x")
			}
		})
	}
	writing.Wait()
	record(r, "last")
	wg.Wait()
}

func BenchmarkRecord(b *testing.B) {
	r := NewRecorder(10000)
	e := &Entry{Step: Emitted, Type: "a.b.c"}
	b.ReportAllocs()
	for b.Loop() {
		r.Record(e)
	}
}

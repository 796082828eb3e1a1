package promise

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSettledOnce(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		settle func(Resolver[int]) bool
		want   Outcome[int]
	}{
		"resolve":              {func(r Resolver[int]) bool { return r.Resolve(1) }, Outcome[int]{Value: 1}},
		"reject":               {func(r Resolver[int]) bool { return r.Reject(boom) }, Outcome[int]{Err: boom}},
		"reject for no reason": {func(r Resolver[int]) bool { return r.Reject(nil) }, Outcome[int]{Err: ErrNoReason}},
	} {
		t.Run(name, func(t *testing.T) {
			p, r := New[int]()
			early := p.Done()
			if _, ok := p.Outcome(); ok {
				t.Error("settled before anybody did")
			}
			var got []Outcome[int]
			p.Then(func(o Outcome[int]) { got = append(got, o) })
			if !c.settle(r) {
				t.Error("the first settle is not the first")
			}
			if r.Resolve(2) || r.Reject(errors.New("late")) {
				t.Error("settled again")
			}
			p.Then(func(o Outcome[int]) { got = append(got, o) })
			if !slices.Equal(got, []Outcome[int]{c.want, c.want}) {
				t.Errorf("callbacks got %v", got)
			}
			<-early
			<-p.Done()
			if v, err := p.Wait(t.Context()); v != c.want.Value || !errors.Is(err, c.want.Err) {
				t.Errorf("waited for %v, %v", v, err)
			}
		})
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r := New[string]()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
		r.Resolve("after all")
		if v, err := p.Wait(ctx); v != "after all" || err != nil {
			t.Errorf("a settled promise loses against an ended context: %q, %v", v, err)
		}
	})
}

func TestCallbackMayUseThePromise(t *testing.T) {
	p, r := New[int]()
	var inner int
	p.Then(func(Outcome[int]) { p.Then(func(o Outcome[int]) { inner = o.Value }) })
	r.Resolve(7)
	if inner != 7 {
		t.Errorf("inner = %d", inner)
	}
}

func TestManySettlers(t *testing.T) {
	p, r := New[int]()
	var mu sync.Mutex
	var first, calls int
	p.Then(func(Outcome[int]) { mu.Lock(); calls++; mu.Unlock() })
	var wg sync.WaitGroup
	for n := range 50 {
		wg.Go(func() {
			if r.Resolve(n) {
				mu.Lock()
				first++
				mu.Unlock()
			}
		})
		wg.Go(func() { <-p.Done() })
	}
	wg.Wait()
	if first != 1 || calls != 1 {
		t.Errorf("%d settlers were first, %d calls", first, calls)
	}
}

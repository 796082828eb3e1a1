package apply_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/generation"
)

var me = generation.Who{Command: "test", User: "tester"}

// random makes a configuration of few names, so that two have much in common.
func random(r *rand.Rand) plain {
	p := plain{Instances: map[string]inst{}, Routes: map[string]string{}}
	ports := r.Perm(6)
	for n := range 6 {
		if r.IntN(3) == 0 {
			continue
		}
		i := inst{Value: fmt.Sprint(r.IntN(2)), Digest: fmt.Sprint("d", r.IntN(2)), Max: r.IntN(2)}
		if r.IntN(2) == 0 { // another instance may have had it before
			i.Listen = fmt.Sprintf("tcp://127.0.0.1:%d", 8000+ports[n])
		}
		for o := range n {
			if _, there := p.Instances[fmt.Sprint("p.i", o)]; there && r.IntN(4) == 0 {
				i.Refs = append(i.Refs, fmt.Sprint("p.i", o))
			}
		}
		p.Instances[fmt.Sprint("p.i", n)] = i
	}
	for n := range 3 {
		if r.IntN(2) == 0 {
			p.Routes[fmt.Sprint("r", n)] = fmt.Sprint("text", r.IntN(2))
		}
	}
	return p
}

func outcome(t testing.TB, r apply.Result, err error, want apply.Outcome) {
	t.Helper()
	if err != nil || r.Outcome != want {
		t.Fatalf("%s %q %v, %v; want %s", r.Outcome, r.Message, r.Diagnostics, err, want)
	}
}

// For random pairs of configurations a and b: nothing is planned from a to a,
// applying b gives b, whatever failed before leaves a as it was, and a return
// gives a. Nothing leaks.
func TestApplyAndReturn(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 4))
		m := newMachine(t)
		p, b := random(r), random(r)
		m.write(p)
		a, store := m.applier()
		ctx := t.Context()
		res, err := a.Boot(ctx, me, 0)
		outcome(t, res, err, apply.Committed)
		m.check("after the boot", p)
		res, err = a.Plan(ctx, 0, nil)
		outcome(t, res, err, apply.Unchanged)
		res, err = a.Reload(ctx, apply.Request{Who: me}, nil)
		outcome(t, res, err, apply.Unchanged)

		m.write(b)
		res, err = a.Plan(ctx, 0, nil)
		if err != nil || res.Plan == nil {
			t.Fatal(res, err)
		}
		m.check("after a plan", p)
		changes := !res.Plan.Empty()
		if changes {
			m.failsSomewhere(r, a, b, p, store)
		}
		res, err = a.Reload(ctx, apply.Request{Who: me, Wait: true}, nil)
		if !changes {
			outcome(t, res, err, apply.Unchanged)
			a.Shutdown(ctx, me)
			continue
		}
		outcome(t, res, err, apply.Committed)
		m.check("after b", b)
		if last, _ := store.Last(); last.Generation != 2 || res.Generation != 2 {
			t.Fatalf("generation %d is recorded, %d is serving", last.Generation, res.Generation)
		}
		res, err = a.Reload(ctx, apply.Request{Who: me, Return: true, Wait: true}, nil)
		outcome(t, res, err, apply.Committed)
		m.check("after the return", p)
		a.Shutdown(ctx, me)
		m.check("after the end", plain{Instances: map[string]inst{}, Routes: p.Routes})
	}
}

// failsSomewhere breaks a reload to b in one place, and wants a untouched.
func (m *machine) failsSomewhere(r *rand.Rand, a *apply.Applier, b, now plain, store *generation.Store) {
	m.t.Helper()
	var places []string
	for address, i := range b.Instances {
		if old, there := now.Instances[address]; there && old.Value == i.Value && old.Digest == i.Digest && old.Listen == i.Listen {
			continue // is not asked
		}
		places = append(places, "verify "+address, "prepare "+address)
		if i.Listen != "" {
			places = append(places, "acquire "+i.Listen)
		}
	}
	if len(places) == 0 {
		return
	}
	slices.Sort(places)
	where := places[r.IntN(len(places))]
	m.mu.Lock()
	m.fail[where] = errors.New("told to")
	m.mu.Unlock()
	res, err := a.Reload(m.t.Context(), apply.Request{Who: me}, nil)
	outcome(m.t, res, err, apply.RolledBack)
	m.check("after a failure to "+where, now)
	m.mu.Lock()
	clear(m.fail)
	m.mu.Unlock()
	if last, _ := store.Last(); last.Generation != 1 {
		m.t.Fatalf("generation %d is recorded after a failure", last.Generation)
	}
}

// A reload that is overtaken at any arrow before the record leaves nothing
// behind; one that is overtaken after it is committed all the same.
func TestOvertakenAtEveryArrow(t *testing.T) {
	p, b := random(rand.New(rand.NewPCG(7, 1))), random(rand.New(rand.NewPCG(8, 1)))
	for _, arrow := range []string{"load", "plan", "reserve", "verify", "prepare", "commit", "recorded", "routes", "gates", "drain"} {
		m := newMachine(t)
		m.write(p)
		a, _ := m.applier()
		res, err := a.Boot(t.Context(), me, 0)
		outcome(t, res, err, apply.Committed)
		m.write(b)
		ctx, cancel := context.WithCancel(t.Context())
		m.mu.Lock()
		m.fault = func(what string) {
			if what == arrow {
				cancel()
			}
		}
		m.mu.Unlock()
		res, err = a.Reload(ctx, apply.Request{Who: me}, nil)
		m.mu.Lock()
		m.fault = nil
		m.mu.Unlock()
		committed := slices.Contains([]string{"recorded", "routes", "gates", "drain"}, arrow)
		if committed {
			outcome(t, res, err, apply.Committed)
			a.Shutdown(t.Context(), me)
			continue
		}
		outcome(t, res, err, apply.RolledBack)
		m.check("overtaken at "+arrow, p)
	}
}

// The newest of many reloads that come at once is never lost.
func TestNewestIsNeverLost(t *testing.T) {
	m := newMachine(t)
	conf := func(n int) plain {
		return plain{Instances: map[string]inst{"p.x": {Value: fmt.Sprint(n), Digest: "d"}}, Routes: map[string]string{}}
	}
	m.write(conf(0))
	a, _ := m.applier()
	res, err := a.Boot(t.Context(), me, 0)
	outcome(t, res, err, apply.Committed)
	done := make(chan apply.Result, 50)
	for n := range cap(done) {
		m.write(conf(n + 1))
		go func() {
			r, _ := a.Reload(t.Context(), apply.Request{Who: me}, nil)
			done <- r
		}()
	}
	for range cap(done) {
		<-done
	}
	for range 1000 { // until what was replaced has drained
		m.mu.Lock()
		n := len(m.instances)
		m.mu.Unlock()
		if n == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := m.serving().Instances["p.x"].Value; got != fmt.Sprint(cap(done)) {
		t.Fatalf("%s is serving after the last of %d", got, cap(done))
	}
	a.Shutdown(t.Context(), me)
}

// A reload that lost its turn to one whose caller went away is done all the
// same: what was asked for is not lost.
func TestOvertakenByOneThatGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.write(value("1"))
		a, _, crash := m.boot(t, 0, value("1"), 1, "")
		m.write(value("2"))
		slow := func(what string) {
			if what == "verify p.x" {
				time.Sleep(10 * time.Second)
			}
		}
		m.mu.Lock()
		m.fault = slow
		m.mu.Unlock()
		first := make(chan apply.Result, 1)
		go func() {
			r, _ := a.Reload(t.Context(), apply.Request{Who: me}, nil)
			first <- r
		}()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		second, err := a.Reload(ctx, apply.Request{Who: me}, nil) // its caller goes in the middle
		outcome(t, second, err, apply.RolledBack)
		if r := <-first; r.Outcome != apply.Superseded {
			t.Errorf("the first: %s", r.Outcome)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		m.check("after all", value("2"))
		if g := a.Generation(); g != 2 {
			t.Errorf("generation %d", g)
		}
		crash()
	})
}

// Every phase has a deadline of its own, and what hangs in one does not hold
// the next reload.
func TestDeadlines(t *testing.T) {
	one := plain{Instances: map[string]inst{"p.x": {Value: "1", Digest: "d", Listen: "tcp://127.0.0.1:1"}}, Routes: map[string]string{}}
	two := plain{Instances: map[string]inst{"p.x": {Value: "2", Digest: "d", Listen: "tcp://127.0.0.1:2"}}, Routes: map[string]string{}}
	for _, c := range []struct {
		where string
		want  apply.Outcome
		limit time.Duration
		says  string
	}{
		{"reading", apply.RolledBack, 30 * time.Second, "load_timeout"},
		{"acquire tcp://127.0.0.1:2", apply.RolledBack, 10 * time.Second, "reserve_timeout"},
		{"verify p.x", apply.RolledBack, 45 * time.Second, "p.x cannot be started"}, // start and verify
		{"prepare p.x", apply.RolledBack, 30 * time.Second, "p.x cannot be started"},
		{"commit p.x", apply.Committed, 30 * time.Second, ""},
	} {
		t.Run(c.where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine(t)
				m.write(one)
				a, _ := m.applier()
				res, err := a.Boot(t.Context(), me, 0)
				outcome(t, res, err, apply.Committed)
				m.write(two)
				release := make(chan struct{})
				m.mu.Lock()
				if c.where == "reading" { // one that hears of no context
					m.fault = func(what string) {
						if what == "reading" {
							m.mu.Lock()
							m.fault = nil
							m.mu.Unlock()
							<-release
						}
					}
				} else {
					m.fail[c.where] = errHangs
				}
				m.mu.Unlock()
				start := time.Now()
				res, err = a.Reload(t.Context(), apply.Request{Who: me}, nil)
				outcome(t, res, err, c.want)
				if took := time.Since(start); took != c.limit {
					t.Errorf("took %s, want %s", took, c.limit)
				}
				said := res.Message
				for _, d := range res.Diagnostics {
					said += d.Summary
				}
				if !strings.Contains(said, c.says) {
					t.Errorf("it says %q, want %q", said, c.says)
				}
				m.mu.Lock()
				clear(m.fail)
				m.mu.Unlock()
				res, err = a.Reload(t.Context(), apply.Request{Who: me, Wait: true}, nil)
				if c.want == apply.RolledBack {
					outcome(t, res, err, apply.Committed)
				}
				synctest.Wait()
				m.check("after the next reload", two)
				close(release)
				a.Shutdown(t.Context(), me)
			})
		})
	}
}

// Of 50 instances one takes 10 s to verify: the others are heard of meanwhile,
// and a newer reload need not wait.
func TestSlowVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.write(plain{Instances: map[string]inst{}})
		a, _ := m.applier()
		res, err := a.Boot(t.Context(), me, 0)
		outcome(t, res, err, apply.Committed)
		many := plain{Instances: map[string]inst{}, Routes: map[string]string{}}
		for n := range 50 {
			many.Instances[fmt.Sprintf("p.i%02d", n)] = inst{Value: "1", Digest: "d"}
		}
		m.write(many)
		m.mu.Lock()
		m.fault = func(what string) {
			if what == "verify p.i07" {
				time.Sleep(10 * time.Second)
			}
		}
		m.mu.Unlock()
		first := make(chan apply.Result, 1)
		verified := 0
		go func() {
			r, _ := a.Reload(t.Context(), apply.Request{Who: me}, func(p apply.Progress) {
				if p.Phase == apply.Verify && p.Done {
					verified++
				}
			})
			first <- r
		}()
		time.Sleep(time.Second)
		synctest.Wait()
		if verified != 49 {
			t.Errorf("%d are verified after a second, want 49", verified)
		}
		m.write(plain{Instances: map[string]inst{}, Routes: map[string]string{}})
		res, err = a.Reload(t.Context(), apply.Request{Who: me}, nil)
		outcome(t, res, err, apply.Unchanged)
		if r := <-first; r.Outcome != apply.Superseded {
			t.Errorf("the older one: %s", r.Outcome)
		}
		m.check("after all", plain{Instances: map[string]inst{}, Routes: map[string]string{}})
		a.Shutdown(t.Context(), me)
	})
}

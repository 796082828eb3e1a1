package apply_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/generation"
)

func value(v string) plain {
	return plain{Instances: map[string]inst{"p.x": {Value: v, Digest: "d", Listen: "tcp://127.0.0.1:1"}}, Routes: map[string]string{}}
}

// life runs an applier on a machine, as one life of the daemon, and returns
// what ends it as a crash does: nothing is drained, nothing is written.
func (m *machine) life(t *testing.T) (a *apply.Applier, store *generation.Store, crash func()) {
	t.Helper()
	a, store = m.applier()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = a.Run(ctx)
	}()
	return a, store, func() {
		cancel()
		<-done
		_ = store.Close()
		m.mu.Lock()
		defer m.mu.Unlock()
		clear(m.instances)
		clear(m.leases)
		m.routes, m.retained = nil, nil
	}
}

func (m *machine) boot(t *testing.T, pick uint64, wants plain, generation uint64, says string) (*apply.Applier, *generation.Store, func()) {
	t.Helper()
	a, store, crash := m.life(t)
	r, err := a.Boot(t.Context(), me, pick)
	outcome(t, r, err, apply.Committed)
	m.check("after the boot", wants)
	said := ""
	for _, d := range r.Diagnostics {
		said += d.Detail
	}
	if r.Generation != generation || !strings.Contains(said, says) || says == "" && said != "" {
		t.Fatalf("generation %d, %q; want %d, %q", r.Generation, said, generation, says)
	}
	return a, store, crash
}

// What a start serves is decided by the record.
func TestBoot(t *testing.T) {
	m := newMachine(t)
	m.write(value("1"))
	_, _, crash := m.boot(t, 0, value("1"), 1, "")
	crash()
	// The same files are the same generation.
	a, _, crash := m.boot(t, 0, value("1"), 1, "")
	m.write(value("2"))
	r, err := a.Reload(t.Context(), apply.Request{Who: me, Wait: true}, nil)
	outcome(t, r, err, apply.Committed)
	crash()
	a, _, crash = m.boot(t, 0, value("2"), 2, "")
	// After a return, files that nobody touched do not come back.
	r, err = a.Reload(t.Context(), apply.Request{Who: me, Return: true, Wait: true}, nil)
	outcome(t, r, err, apply.Committed)
	m.check("after the return", value("1"))
	crash()
	_, _, crash = m.boot(t, 0, value("1"), 3, "files on disk are still those that were left")
	crash()
	// Files that were edited do, and it is said.
	m.write(value("3"))
	_, _, crash = m.boot(t, 0, value("3"), 4, "differ from generation 3")
	crash()
	// One generation, because somebody wants it.
	_, store, crash := m.boot(t, 2, value("2"), 5, "as asked for")
	if r, _ := store.Last(); r.From != 2 {
		t.Errorf("the record says %+v", r)
	}
	crash()
	a, _, crash = m.boot(t, 5, value("2"), 5, "as asked for")
	r, err = a.Reload(t.Context(), apply.Request{Who: me, Return: true, To: 99}, nil)
	outcome(t, r, err, apply.RolledBack)
	r, err = a.Reload(t.Context(), apply.Request{Who: me, Wait: true}, nil)
	outcome(t, r, err, apply.Committed)
	m.check("the files again", value("3"))
	crash()
}

// A generation on probation is left when nobody confirms it, also by a daemon
// that was started anew in between, or after the time was over.
func TestProbation(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(t *testing.T, m *machine, a *apply.Applier, crash func()) (*apply.Applier, func())
		want plain
		last uint64
	}{
		{"nobody confirms", func(_ *testing.T, _ *machine, a *apply.Applier, crash func()) (*apply.Applier, func()) {
			time.Sleep(5*time.Minute + time.Second)
			return a, crash
		}, value("1"), 3},
		{"confirmed", func(t *testing.T, _ *machine, a *apply.Applier, crash func()) (*apply.Applier, func()) {
			time.Sleep(4 * time.Minute)
			if g, err := a.Confirm(me); g != 2 || err != nil {
				t.Error(g, err)
			}
			if _, err := a.Confirm(me); err == nil {
				t.Error("it can be confirmed twice")
			}
			time.Sleep(time.Hour)
			return a, crash
		}, value("2"), 2},
		{"crash, then nobody confirms", func(t *testing.T, m *machine, _ *apply.Applier, crash func()) (*apply.Applier, func()) {
			time.Sleep(time.Minute)
			crash()
			a, _, crash := m.boot(t, 0, value("2"), 2, "waits for host confirm")
			time.Sleep(4*time.Minute + time.Second)
			return a, crash
		}, value("1"), 3},
		{"crash, then confirmed", func(t *testing.T, m *machine, _ *apply.Applier, crash func()) (*apply.Applier, func()) {
			crash()
			a, _, crash := m.boot(t, 0, value("2"), 2, "waits for host confirm")
			if _, err := a.Confirm(me); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Hour)
			return a, crash
		}, value("2"), 2},
		{"crash, and started too late", func(t *testing.T, m *machine, _ *apply.Applier, crash func()) (*apply.Applier, func()) {
			crash()
			time.Sleep(time.Hour)
			a, _, crash := m.boot(t, 0, value("1"), 3, "was not")
			return a, crash
		}, value("1"), 3},
		{"what comes meanwhile is on probation too", func(t *testing.T, m *machine, a *apply.Applier, crash func()) (*apply.Applier, func()) {
			m.write(value("3"))
			r, err := a.Reload(t.Context(), apply.Request{Who: me, Wait: true}, nil)
			outcome(t, r, err, apply.Committed)
			if r.Confirm == nil || r.Confirm.Back != 1 {
				t.Errorf("the probation is %+v", r.Confirm)
			}
			time.Sleep(5*time.Minute + time.Second)
			return a, crash
		}, value("1"), 4},
		{"a return ends it", func(t *testing.T, m *machine, a *apply.Applier, crash func()) (*apply.Applier, func()) {
			r, err := a.Reload(t.Context(), apply.Request{Who: me, Return: true, Wait: true}, nil)
			outcome(t, r, err, apply.Committed)
			time.Sleep(time.Hour)
			return a, crash
		}, value("1"), 3},
		{"a return that fails is tried again", func(t *testing.T, m *machine, a *apply.Applier, crash func()) (*apply.Applier, func()) {
			m.mu.Lock()
			m.fail["prepare p.x"] = context.DeadlineExceeded
			m.mu.Unlock()
			time.Sleep(5*time.Minute + time.Second)
			m.check("after a return that failed", value("2"))
			m.mu.Lock()
			clear(m.fail)
			m.mu.Unlock()
			time.Sleep(20 * time.Second)
			return a, crash
		}, value("1"), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine(t)
				m.write(value("1"))
				a, _, crash := m.boot(t, 0, value("1"), 1, "")
				m.write(value("2"))
				r, err := a.Reload(t.Context(), apply.Request{Who: me, Wait: true, Confirm: 5 * time.Minute}, nil)
				outcome(t, r, err, apply.Committed)
				if r.Confirm == nil || r.Confirm.Back != 1 {
					t.Fatalf("no probation: %+v", r)
				}
				a, crash = c.then(t, m, a, crash)
				synctest.Wait()
				m.check("in the end", c.want)
				if g := a.Generation(); g != c.last {
					t.Errorf("generation %d, want %d", g, c.last)
				}
				crash()
				// And so it stays.
				a, _, crash = m.life(t)
				r, err = a.Boot(t.Context(), me, 0)
				outcome(t, r, err, apply.Committed)
				m.check("after another start", c.want)
				crash()
			})
		})
	}
}

// A plan that is held keeps what it reserved until it is applied, or its time
// is over; it is not applied to anything else than it was made for.
func TestHeldPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.write(value("1"))
		a, _, crash := m.boot(t, 0, value("1"), 1, "")
		next := value("2")
		next.Instances["p.y"] = inst{Value: "1", Digest: "d", Listen: "tcp://127.0.0.1:7"}
		held := func() []string {
			m.mu.Lock()
			defer m.mu.Unlock()
			var owners []string
			for o := range m.leases["tcp://127.0.0.1:7"] {
				owners = append(owners, o)
			}
			return owners
		}
		plan := func(hold time.Duration) *apply.Held {
			t.Helper()
			r, err := a.Plan(t.Context(), hold, nil)
			outcome(t, r, err, apply.Changes)
			for _, s := range r.Plan.Steps {
				if s.Address == "p.x" && (s.Drains.Connections != 2 || s.Drains.Deliveries != 3) {
					t.Errorf("p.x has %+v in hand", s.Drains)
				}
			}
			return r.Held
		}
		m.write(next)
		if h := plan(0); h != nil || len(held()) != 0 {
			t.Fatalf("a plan that holds nothing: %+v, %v", h, held())
		}
		h := plan(time.Minute)
		if len(held()) != 1 {
			t.Fatalf("held by %v", held())
		}
		m.write(value("3"))
		r, err := a.Reload(t.Context(), apply.Request{Who: me, Plan: h}, nil)
		outcome(t, r, err, apply.RolledBack)
		if !strings.Contains(r.Message, "has changed since") {
			t.Error(r.Message)
		}
		m.write(next)
		r, err = a.Reload(t.Context(), apply.Request{Who: me, Plan: h, Wait: true}, nil)
		outcome(t, r, err, apply.Committed)
		synctest.Wait()
		m.check("after the plan", next)
		if owners := held(); !slices.Equal(owners, []string{"p.y@2"}) {
			t.Errorf("held by %v", owners)
		}
		r, err = a.Reload(t.Context(), apply.Request{Who: me, Plan: h}, nil)
		outcome(t, r, err, apply.RolledBack)
		if !strings.Contains(r.Message, "generation 2 is serving") {
			t.Error(r.Message)
		}

		// Time ends it, another commit ends it, the end of the daemon ends it.
		m.write(value("1"))
		back := value("4")
		back.Instances["p.z"] = inst{Value: "1", Digest: "d", Listen: "tcp://127.0.0.1:9"}
		m.write(back)
		h = plan(time.Minute)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		m.check("after it has expired", next)
		r, err = a.Reload(t.Context(), apply.Request{Who: me, Plan: h}, nil)
		outcome(t, r, err, apply.RolledBack)
		if !strings.Contains(r.Message, "expired") {
			t.Error(r.Message)
		}
		for range 8 {
			plan(time.Hour)
		}
		if r, err := a.Plan(t.Context(), time.Hour, nil); err != nil || r.Outcome != apply.RolledBack {
			t.Errorf("a ninth plan is held: %+v %v", r, err)
		}
		m.write(value("5"))
		r, err = a.Reload(t.Context(), apply.Request{Who: me, Wait: true}, nil)
		outcome(t, r, err, apply.Committed)
		m.check("after another commit", value("5"))
		m.write(back)
		plan(time.Hour)
		a.Shutdown(t.Context(), me)
		m.mu.Lock()
		if len(m.leases) != 0 {
			t.Errorf("held after the end: %v", m.leases)
		}
		m.mu.Unlock()
		crash()
	})
}

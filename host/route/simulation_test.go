package route

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

var (
	seed  = flag.Uint64("seed", 0, "run the simulation with this seed only")
	steps = flag.Int("steps", 3000, "steps of a simulation")
)

// TestSimulation drives a router with random emits, answers, failures, hangs,
// crashes, replacements, swaps and clocks, and checks the books after every
// step and every promise at the end. A failure names the seed.
func TestSimulation(t *testing.T) {
	seeds := []uint64{*seed}
	if *seed == 0 {
		seeds = []uint64{1, 2, 3, 4, 5, 6, 7, 8}
	}
	for _, n := range seeds {
		t.Run(fmt.Sprint("seed=", n), func(t *testing.T) {
			bubble(t, func(t *testing.T, g *rig) { (&world{t: t, g: g, rng: rand.New(rand.NewPCG(n, n))}).run() })
		})
	}
}

// world is what surrounds the router in a simulation.
type world struct {
	t   *testing.T
	g   *rig
	rng *rand.Rand

	routes   []config.Route // every one that may be in force; actions tell them apart
	actions  []string
	emitters []*emitter
	log      []sent
	lives    []*simLife
	emitted  map[*emitter][]uint64
	serial   int             // of events, in their data
	answered map[string]bool // route and event whose success was taken
	lines    map[string]*simLine
	tokens   []simToken
	redeemed map[string]bool
	replayed map[wire.ID]bool // they come again behind those that were after them
}

// simToken is a token that was given out, for whoever settles with it.
type simToken struct {
	token string
	wire.Deliver
}

// simLife is one life of an instance.
type simLife struct {
	*Inbox
	w      *world
	held   []wire.Deliver // not answered
	closed bool
}

// sent is something that the router sent.
type sent struct {
	to     *simLife
	cancel bool
	wire.Deliver
}

func (l *simLife) Deliver(d *wire.Deliver) error {
	c := *d
	c.Event.Data = slices.Clone(d.Event.Data)
	l.w.log = append(l.w.log, sent{to: l, Deliver: c}) // under the router's lock
	return nil
}

func (l *simLife) Flush() {}

func (l *simLife) Cancel(delivery uint64, attempt uint32, _ wire.Cause) error {
	l.w.log = append(l.w.log, sent{l, true, wire.Deliver{Delivery: delivery, Attempt: attempt}})
	return nil
}

// simLine is what is known of one subject on one ordered route.
type simLine struct {
	serial  int      // of the event that was delivered last
	at      *simLife // where an attempt of it is in flight, or nil
	number  uint64
	attempt uint32
}

var addresses = []string{"b", "c", "d", "dead"}

func (w *world) run() {
	w.answered, w.lines = map[string]bool{}, map[string]*simLine{}
	w.emitted, w.redeemed, w.replayed = map[*emitter][]uint64{}, map[string]bool{}, map[wire.ID]bool{}
	for n := range 10 {
		w.routes = append(w.routes, w.newRoute(n))
	}
	w.actions = []string{"letter"}
	for _, r := range w.routes {
		w.actions = append(w.actions, r.To.Name)
	}
	w.emitters = []*emitter{w.g.source("a", "said", "heard"), w.g.source("z", "said")}
	w.g.r.Swap(w.routes[:5])
	for range *steps {
		w.step()
		w.look()
		w.g.check()
		if w.t.Failed() {
			return
		}
	}
	w.finish()
}

func (w *world) newRoute(n int) config.Route {
	pick := func(s ...string) string { return s[w.rng.IntN(len(s))] }
	r := routeTo(fmt.Sprint("r", n%6), pick(addresses[:3]...), func(d *config.Delivery) {
		d.Timeout = time.Duration(1+w.rng.IntN(20)) * time.Second
		d.Attempts = 1 + w.rng.IntN(4)
		d.Backoff = time.Duration(w.rng.IntN(3)) * time.Second
		d.Await = w.rng.IntN(3) > 0
		d.Queue = 1 + w.rng.IntN(12)
		d.Overflow = pick("block", "block", "reject", "drop_oldest")
		d.Concurrency = w.rng.IntN(4)
		d.Order = pick("", "subject")
		if w.rng.IntN(3) == 0 {
			d.DeadLetter = &config.Endpoint{Instance: "dead", Name: "letter"}
		}
	})
	r.To.Name = fmt.Sprint("do", n)
	r.Text = fmt.Sprint(r.Name, n)
	r.From = []config.Endpoint{{Instance: "a", Name: pick("said", "heard")}, {Instance: pick("a", "z"), Name: "said"}}
	return r
}

// attach starts a life of an instance, with all actions.
func (w *world) attach(address string) {
	l := &simLife{w: w}
	l.Inbox = w.g.r.Attach(Attachment{Address: address, Actions: w.actions, Outlet: l})
	l.Credit(uint32(w.rng.IntN(8)))
	w.lives = append(w.lives, l)
}

func (w *world) step() {
	switch n := w.rng.IntN(100); {
	case n < 40:
		e := w.emitters[w.rng.IntN(len(w.emitters))]
		w.serial++
		e.index = uint32(w.rng.IntN(len(e.Events)))
		p := e.emit(strconv.Itoa(w.serial), subjectOf([]string{"", "x", "y"}[w.rng.IntN(3)]), func(ev *wire.Event) {
			if w.rng.IntN(4) == 0 {
				within(time.Duration(w.rng.IntN(10)) * time.Second)(ev)
			}
		})
		w.emitted[e] = append(w.emitted[e], p)
	case n < 75:
		for range 1 + w.rng.IntN(6) {
			w.answer()
			w.look()
		}
	case n < 77:
		w.redeem()
	case n < 79:
		if e := w.emitters[w.rng.IntN(len(w.emitters))]; len(w.emitted[e]) > 0 {
			p := w.emitted[e]
			w.g.r.Withdraw(&e.Source, p[max(0, len(p)-1-w.rng.IntN(20))])
		}
	case n < 80:
		for _, x := range w.g.r.Replay(func(*observe.Dead) bool { return w.rng.IntN(3) == 0 }) {
			w.replayed[x.Event] = true
		}
	case n < 83:
		if l := w.anyLife(); l != nil {
			l.Credit(uint32(w.rng.IntN(8)))
		}
	case n < 91:
		wait(time.Duration(w.rng.IntN(1500)) * time.Millisecond)
	case n < 95:
		w.attach(addresses[w.rng.IntN(len(addresses))])
	case n < 98:
		if l := w.anyLife(); l != nil {
			w.end(l)
		}
	default:
		w.rng.Shuffle(len(w.routes), func(a, b int) { w.routes[a], w.routes[b] = w.routes[b], w.routes[a] })
		var in []config.Route
		names := map[string]bool{}
		for _, r := range w.routes[:3+w.rng.IntN(6)] {
			if !names[r.Name] {
				names[r.Name] = true
				in = append(in, r)
			}
		}
		w.g.r.Swap(in)
		if w.rng.IntN(10) == 0 {
			w.g.r.Forget(addresses[w.rng.IntN(len(addresses))], nil)
		}
	}
}

func (w *world) anyLife() *simLife {
	if len(w.lives) == 0 {
		return nil
	}
	n := len(w.lives)
	if w.rng.IntN(8) > 0 { // the dead say little
		n = min(n, 5)
	}
	return w.lives[len(w.lives)-1-w.rng.IntN(n)]
}

// end ends a life: by a crash, or as one that was replaced and did not finish.
func (w *world) end(l *simLife) {
	if l.closed {
		return
	}
	if w.rng.IntN(4) == 0 {
		l.Stop()
		return
	}
	l.closed = true
	reason := crash
	switch w.rng.IntN(3) {
	case 0:
		reason = &wire.Error{Code: wire.Unavailable, Reason: wire.ReasonDraining, Message: "replaced"}
	case 1:
		reason = &wire.Error{Code: wire.Internal, Message: "not to be tried again"}
	}
	w.forget(l)
	l.Close(reason)
}

// forget notes that nothing is in flight at a life any more.
func (w *world) forget(l *simLife) {
	for _, line := range w.lines {
		if line.at == l {
			line.at = nil
		}
	}
}

// answer settles something: well, badly, twice, late, or not at all.
func (w *world) answer() {
	l := w.anyLife()
	if l == nil || len(l.held) == 0 {
		return
	}
	if w.rng.IntN(10) == 0 {
		return // it hangs; later it may answer after all
	}
	n := w.rng.IntN(len(l.held))
	d := l.held[n]
	l.held = append(l.held[:n], l.held[n+1:]...)
	if w.rng.IntN(6) == 0 {
		if token, err := l.Detach(d.Delivery, d.Attempt); err == nil {
			w.tokens = append(w.tokens, simToken{token, d})
		}
		w.free(l, d) // the subject keeps its turn; that the next waits is checked by the order of serials
		l.Credit(1)
		return
	}
	w.free(l, d)
	switch kind := w.rng.IntN(10); {
	case kind < 6:
		w.resolve(l, d)
	case kind < 9:
		_ = l.Settle(&wire.Settle{Ref: d.Delivery, Attempt: d.Attempt,
			Err: &wire.Error{Code: wire.Unavailable, Message: "not now", Retryable: true}})
	default:
		_ = l.Settle(&wire.Settle{Ref: d.Delivery, Attempt: d.Attempt, Err: &wire.Error{Code: wire.Internal, Message: "no"}})
	}
	if w.rng.IntN(5) == 0 {
		if err := l.Settle(&wire.Settle{Ref: d.Delivery, Attempt: d.Attempt}); err == nil {
			w.t.Errorf("a second settle of %d#%d was taken", d.Delivery, d.Attempt)
		}
	}
	l.Credit(1)
}

// redeem settles with a token: a good one, a stale one, a used one or none.
func (w *world) redeem() {
	if len(w.tokens) == 0 || w.rng.IntN(8) == 0 {
		if err := w.g.r.Redeem("z", "", &wire.Settle{Token: "forged"}); err == nil || err.Reason != wire.ReasonUnknownToken {
			w.t.Errorf("a forged token: %v", err)
		}
		return
	}
	x := w.tokens[w.rng.IntN(len(w.tokens))]
	s := &wire.Settle{Token: x.token, Value: x.Event.Data}
	if w.rng.IntN(4) == 0 {
		s.Err = &wire.Error{Code: wire.Unavailable, Message: "not now", Retryable: w.rng.IntN(2) == 0}
	}
	err := w.g.r.Redeem("z", "", s)
	switch {
	case err == nil && w.redeemed[x.token]:
		w.t.Errorf("token %s was taken twice", x.token)
	case err == nil:
		w.redeemed[x.token] = true
		if s.Err == nil {
			w.took(x.Deliver)
		}
	case w.redeemed[x.token] && err.Reason != wire.ReasonAlreadySettled, !w.redeemed[x.token] && err.Reason != wire.ReasonStaleAttempt:
		w.t.Errorf("token %s, used %t: %v", x.token, w.redeemed[x.token], err)
	}
}

func (w *world) resolve(l *simLife, d wire.Deliver) {
	if l.Settle(&wire.Settle{Ref: d.Delivery, Attempt: d.Attempt, Value: d.Event.Data}) != nil {
		return // late
	}
	w.took(d)
}

// took notes a success that was taken: there is one for a delivery, and one
// more for each replay, which comes after a death and so after no success.
func (w *world) took(d wire.Deliver) {
	key := fmt.Sprint(d.Action, "/", d.Event.ID, "/", string(d.Input)) // dead letters of one event differ in the input
	if d.Action == 0 && w.replayed[d.Event.ID] {
		return // it may die again in the same way, and has another letter then
	}
	if w.answered[key] {
		w.t.Errorf("event %s was settled twice by action %d", d.Event.Data, d.Action)
	}
	w.answered[key] = true
}

// look takes what was sent, and checks the order of subjects.
func (w *world) look() {
	synctest.Wait()
	log := w.log
	w.log = nil
	for _, s := range log {
		if s.cancel {
			w.free(s.to, s.Deliver)
			continue
		}
		s.to.held = append(s.to.held, s.Deliver)
		line := w.line(s.Deliver)
		if line == nil {
			continue
		}
		serial, _ := strconv.Atoi(string(s.Event.Data))
		if serial < line.serial && !w.replayed[s.Event.ID] || line.at != nil {
			w.t.Errorf("subject %s, action %d: event %d after %d, which is in flight: %t",
				s.Event.Subject, s.Action, serial, line.serial, line.at != nil)
		}
		*line = simLine{max(serial, line.serial), s.to, s.Delivery, s.Attempt}
	}
}

// line returns the line of a delivery of an ordered route with a subject, else nil.
func (w *world) line(d wire.Deliver) *simLine {
	for _, r := range w.routes {
		if d.Event.Subject == "" || r.Delivery.Order == "" || r.To.Name != w.actions[d.Action] {
			continue
		}
		key := r.To.Name + "/" + d.Event.Subject
		if w.lines[key] == nil {
			w.lines[key] = &simLine{}
		}
		return w.lines[key]
	}
	return nil
}

// free notes that an attempt is in flight no more.
func (w *world) free(l *simLife, d wire.Deliver) {
	for _, line := range w.lines {
		if line.at == l && line.number == d.Delivery && line.attempt == d.Attempt {
			line.at = nil
		}
	}
}

// finish lets everything come to its end and checks every promise.
func (w *world) finish() {
	for _, l := range w.lives {
		w.end(l)
		w.forget(l)
		l.closed = true
		l.Close(crash)
		w.look()
	}
	for _, line := range w.lines {
		line.at = nil
	}
	w.lives = nil
	for _, a := range addresses {
		w.attach(a)
		w.lives[len(w.lives)-1].Credit(1 << 20)
	}
	for n := 0; w.open() > 0 && n < 1000; n++ {
		wait(time.Second)
		w.look()
		for _, l := range w.lives {
			for _, d := range l.held {
				w.free(l, d)
				w.resolve(l, d)
			}
			l.held = nil
		}
		w.g.check()
	}
	if n := w.open(); n > 0 {
		w.t.Fatalf("%d deliveries do not end", n)
	}
	total := 0
	for e, promises := range w.emitted {
		total += len(promises)
		for _, p := range promises {
			switch got := e.outcome(p); got {
			case "pending", "accepted":
				w.t.Errorf("promise %d of %s is %s at the end", p, e.Address, got)
			default:
				if strings.HasPrefix(got, "settled") {
					w.t.Errorf("promise %d of %s: %s", p, e.Address, got)
				}
			}
		}
	}
	c, routes := w.g.r.Counts()
	if c.Accepted != uint64(total) || c.Pending != 0 {
		w.t.Errorf("%d events emitted, the ledger says %+v", total, c)
	}
	for _, r := range routes {
		if r.Pending != 0 || r.Queued != 0 || r.InFlight != 0 {
			w.t.Errorf("route %s at the end: %+v", r.Name, r)
		}
	}
	if n := w.g.r.c.Alarms.Len(); n > 0 {
		w.t.Errorf("%d alarms are left", n)
	}
	w.t.Logf("%d events: %+v", total, c)
}

func (w *world) open() int {
	w.g.r.c.Mu.Lock()
	defer w.g.r.c.Mu.Unlock()
	return w.g.r.c.Open
}

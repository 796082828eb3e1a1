package host_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
)

var (
	kills    = flag.Int("kills", 30, "plugin processes that TestKilledPlugins kills or stops")
	killSeed = flag.Uint64("kill-seed", 0, "seed of TestKilledPlugins; 0 takes one from the clock")
)

const faultConfig = `
plugin "probework" "src" {
  window = %d
  process {
    isolation = "instance"
    restart = { max = 1000000, within = "10ms", backoff = "1ms" }
  }
}
plugin "probework" "a" {
  process {
    isolation = "instance"
    restart = { max = 1000000, within = "10ms", backoff = "1ms" }
  }
}
plugin "probework" "b" {
  process {
    isolation = "instance"
    restart = { max = 1000000, within = "10ms", backoff = "1ms" }
  }
}
plugin "proberaw" "t" {
  process {
    isolation = "instance"
    restart = { max = 1000000, within = "10ms", backoff = "1ms" }
  }
}
route "a" {
  from = probework.src.job
  when = event.data.kind == "a" || event.data.kind == "both"
  to   = probework.a.do
  delivery {
    attempts = 100
    timeout  = "1s"
    backoff  = "1ms"
    order    = "subject"
  }
}
route "b" {
  from = probework.src.job
  when = event.data.kind == "b" || event.data.kind == "both"
  to   = probework.b.do
  delivery {
    attempts = 100
    timeout  = "1s"
    backoff  = "1ms"
  }
}
route "t" {
  from = probework.src.job
  when = event.data.kind == "twice"
  to   = proberaw.t.do
  delivery {
    attempts = 100
    timeout  = "1s"
    backoff  = "1ms"
    order    = "subject"
  }
}
`

// TestKilledPlugins kills plugin processes under load, and stops and continues them,
// while some handlers never return and one plugin answers everything twice.
// Every event that was accepted is settled once, subjects keep their order, the
// books balance and no process is left. make fault does it a thousand times.
func TestKilledPlugins(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("%d kills; -kill-seed %d does the same again", *kills, seed)
	rng := rand.New(rand.NewPCG(seed, seed))
	d := run(t, setup(t, fmt.Sprintf(faultConfig, 24), "probework-1.0.0", "proberaw-1.0.0"))

	l := newLedger("a", "t")
	seen := make(chan observe.Entry, 1024)
	tailing, stopTail := context.WithCancel(t.Context())
	tailed := make(chan error, 1)
	go func() {
		defer close(seen)
		tailed <- d.Tail(tailing, 1<<17, true, control.Filter{Type: "probework"}, func(e observe.Entry) error {
			seen <- e
			return nil
		})
	}()
	checked := make(chan struct{})
	var settled atomic.Uint64 // events, as far as the tail has come
	go func() {
		defer close(checked)
		for e := range seen {
			l.take(e)
			settled.Store(l.settled)
		}
	}()

	killed, stopped := 0, 0
	for killed+stopped < *kills {
		victim := []string{"probework.a", "probework.b", "proberaw.t", "probework.a", "probework.b", "probework.src"}[rng.IntN(6)]
		stop, pause := rng.IntN(3) == 0, time.Duration(rng.IntN(80))*time.Millisecond
		var pid int
		until(t, victim+" runs", func() bool {
			in := d.instance(victim)
			pid = in.Pid
			return in.State == "ready" && pid != 0
		})
		if stop {
			stopped++
			_ = syscall.Kill(pid, syscall.SIGSTOP) // it may have ended just now
			time.Sleep(pause)
			_ = syscall.Kill(pid, syscall.SIGCONT)
		} else {
			killed++
			_ = syscall.Kill(pid, syscall.SIGKILL)
			time.Sleep(pause)
		}
	}
	if n := len(processesOf(t, d.dir)); n == 0 {
		t.Error("no process is found while four run: the check for orphans is blind")
	}
	// No more jobs; those that wait behind handlers that never return end with
	// their deadline.
	d.write("host.hcl", fmt.Sprintf(faultConfig, 0))
	d.must(apply.Committed)
	for end := time.Now().Add(jobLife + 2*time.Minute); d.status().Events.Pending > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("events do not settle: %+v", d.status())
		}
	}
	s := d.status()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // the tail has a moment's delay
		n := d.status().Events.Accepted
		if n == s.Events.Accepted && settled.Load() >= n || time.Now().After(end) {
			break
		}
		s = d.status()
	}
	time.Sleep(time.Second)
	stopTail()
	<-tailed
	<-checked
	s = d.status()
	if err := l.close(s); err != nil {
		t.Errorf("%v\nroutes: %+v", err, s.Routes)
	}
	retries, late := uint64(0), uint64(0)
	for _, r := range s.Routes {
		retries += r.Retries
		late += r.Late
	}
	t.Logf("%d kills, %d stops; %d events, %d resolved, %d rejected %v; %d retries, %d late or second answers refused",
		killed, stopped, s.Events.Accepted, s.Events.Resolved, s.Events.Rejected, s.Reasons, retries, s.Events.Late)
	if s.Events.Resolved == 0 || s.Events.Late == 0 || retries == 0 {
		t.Error("nothing was done, nothing answered twice, or nothing tried again: this tested nothing")
	}
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	until(t, "no process is left", func() bool { return len(processesOf(t, d.dir)) == 0 })
}

// processesOf lists the processes that run a file of a configuration's plugins.
func processesOf(t *testing.T, dir string) (pids []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		exe, err := os.Readlink(filepath.Join(p, "exe"))
		if err == nil && strings.HasPrefix(exe, filepath.Join(dir, "plugins")) {
			pids = append(pids, filepath.Base(p))
		}
	}
	return pids
}

package host_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/control"
)

// Draining is no failure: under load, with one attempt and a dead letter, no
// upgrade and no reload costs an event, although handlers are cut off in the
// middle of their work.
func TestDrainingIsNoFailure(t *testing.T) {
	hcl := func(n int) string {
		return fmt.Sprintf(`
host { drain_timeout = "1ms" }
plugin "probe" "a" { process = { isolation = "instance" } }
plugin "probe" "b" {
  prefix  = "%d:"
  process = { isolation = "instance" }
}
plugin "probe" "dead" { process = { isolation = "instance" } }
route "r" {
  from = probe.a.said
  to   = probe.b.slow
  delivery {
    attempts    = 1
    timeout     = "60s"
    dead_letter = probe.dead.echo
  }
}
`, n)
	}
	d := run(t, setup(t, hcl(0), "probe-1.0.0"))
	var emitted, failed atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for n := range 8 {
		data := `{"text":"x","count":30}`
		if n < 3 {
			data = `{"text":"x","count":2500}` // longer than the shortest drain, which is a second
		}
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := d.Emit(t.Context(), control.EmitRequest{Type: "probe.a.said", Data: json.RawMessage(data), Timeout: time.Minute})
				emitted.Add(1)
				if err != nil || r.Err != nil {
					failed.Add(1)
					t.Errorf("%+v, %v", r, err)
				}
			}
		})
	}
	for n := range 8 {
		before := emitted.Load()
		until(t, "events go on", func() bool { return emitted.Load() > before+20 })
		if n%2 == 0 {
			drop(t, d.dir, fmt.Sprintf("probe-1.%d.0", n+1))
		} else {
			d.write("host.hcl", hcl(n))
		}
		d.must(apply.Committed)
	}
	close(stop)
	clients.Wait()
	until(t, "the old ones are gone", func() bool { return len(d.status().Draining) == 0 })
	var dead, taken, retries uint64
	for _, r := range d.status().Routes {
		dead += r.Dead
		taken += r.Accepted
		retries += r.Retries
	}
	t.Logf("%d events over 8 replacements, %d taken back and given again", emitted.Load(), retries)
	if dead > 0 || failed.Load() > 0 || taken == 0 {
		t.Errorf("%d dead, %d failed of %d", dead, failed.Load(), emitted.Load())
	}
	if retries == 0 {
		t.Error("nothing was cut off: this tested nothing")
	}
}

// The end of the daemon takes as long as the configuration says that serves by
// then, not as long as the first one said.
func TestDrainTimeoutIsTodays(t *testing.T) {
	hcl := func(timeout string) string {
		return fmt.Sprintf(`
host { drain_timeout = %q }
plugin "probe" "a" { process = { isolation = "instance" } }
plugin "probe" "b" { process = { isolation = "instance" } }
route "r" {
  from = probe.a.said
  to   = probe.b.slow
  delivery {
    attempts = 1
    timeout  = "60s"
  }
}
`, timeout)
	}
	d := run(t, setup(t, hcl("1ms"), "probe-1.0.0"))
	d.write("host.hcl", hcl("60s"))
	d.must(apply.Unchanged)
	done := make(chan error, 1)
	go func() { // longer than the old timeout with what a stop is given besides
		r, err := d.Emit(t.Context(), control.EmitRequest{Type: "probe.a.said", Data: json.RawMessage(`{"text":"x","count":8000}`), Timeout: time.Minute})
		if err == nil && r.Err != nil {
			err = r.Err
		}
		done <- err
	}()
	until(t, "it is in flight", func() bool { return d.status().Routes[0].InFlight == 1 })
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("what was in flight: %v", err)
	}
}

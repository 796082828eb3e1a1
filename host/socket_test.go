package host_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/plan"
)

// crowd connects without a pause, and counts what fails.
type crowd struct {
	stop         atomic.Bool
	wait         sync.WaitGroup
	good, failed atomic.Int64
	first        atomic.Value // string
}

func gather(port int) *crowd {
	c := &crowd{}
	for range 3 {
		c.wait.Go(func() {
			for !c.stop.Load() {
				if got, err := ask(port); err != nil || !strings.HasPrefix(got, "v") {
					c.failed.Add(1)
					c.first.CompareAndSwap(nil, fmt.Sprintf("%q, %v", got, err))
				} else {
					c.good.Add(1)
				}
			}
		})
	}
	return c
}

// more waits until some have been served since.
func (c *crowd) more(t *testing.T) {
	t.Helper()
	before := c.good.Load()
	until(t, "connections are served", func() bool { return c.good.Load() >= before+10 || c.failed.Load() > 0 })
}

func (c *crowd) over(t *testing.T) {
	t.Helper()
	c.stop.Store(true)
	c.wait.Wait()
	if n := c.failed.Load(); n > 0 {
		t.Errorf("%d of %d connections failed, the first: %v", n, n+c.good.Load(), c.first.Load())
	}
}

// An address becomes wider and narrower, changes what it is, and moves from one
// instance to another, and no connection is lost.
func TestAddressChangesWithoutAGap(t *testing.T) {
	port := freePort(t)
	hcl := func(name, listen string, n int) string {
		return fmt.Sprintf("plugin \"probe\" %q {\n  prefix = \"v%d\"\n  listen = \"%s\"\n}\n", name, n, strings.ReplaceAll(listen, "PORT", strconv.Itoa(port)))
	}
	const specific = "tcp://127.0.0.1:PORT"
	d := run(t, setup(t, hcl("a", specific, 0), "probe-1.0.0"))
	c := gather(port)
	for n, to := range []struct{ name, listen string }{
		{"a", "tcp://0.0.0.0:PORT"}, {"a", specific}, {"a", "tcp://:PORT"}, {"b", "tcp4://:PORT"}, {"b", specific + "?freebind=1"},
		{"c", specific}, {"d", specific}, {"d", "tcp://:PORT?reuseport=1"}, {"a", specific},
	} {
		c.more(t)
		d.write("host.hcl", hcl(to.name, to.listen, n+1))
		d.must(apply.Committed)
		if n%3 == 0 { // at other times the next comes while the last still drains
			until(t, "the old instance is gone", func() bool { return len(d.status().Draining) == 0 })
		}
	}
	c.more(t)
	c.over(t)
	until(t, "the old instances are gone", func() bool { return len(d.status().Draining) == 0 })
	inode(t, port) // there is exactly one left that listens there
}

// A reload that is refused has not touched the sockets that serve, whatever it
// wanted to do with them.
func TestRefusedTakeover(t *testing.T) {
	port := freePort(t)
	hcl := func(listen, refuse string) string {
		return fmt.Sprintf("plugin \"probe\" \"a\" {\n  prefix = \"v\"\n  listen = \"%s:%d\"\n  refuse = %q\n}\n", listen, port, refuse)
	}
	d := run(t, setup(t, hcl("tcp://0.0.0.0", ""), "probe-1.0.0"))
	c := gather(port)
	for _, refuse := range []string{"verify", "prepare", "verify", "prepare"} {
		c.more(t)
		d.write("host.hcl", hcl("tcp://127.0.0.1", refuse))
		d.must(apply.RolledBack)
	}
	c.more(t)
	c.over(t)
}

// What can be changed on the live socket replaces nobody.
func TestSocketChangesInPlace(t *testing.T) {
	dir := setup(t, "", "probe-1.0.0")
	path := filepath.Join(dir, "s.sock")
	hcl := func(query string) string {
		return fmt.Sprintf("plugin \"probe\" \"a\" {\n  prefix = \"v\"\n  listen = \"unix://s.sock%s\"\n}\n", query)
	}
	write(t, filepath.Join(dir, "host.hcl"), hcl("?mode=0600"))
	d := run(t, dir)
	mode := func() os.FileMode {
		st, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return st.Mode().Perm()
	}
	if mode() != 0o600 {
		t.Errorf("mode %o, want 0600", mode())
	}
	before := d.instance("probe.a")
	d.write("host.hcl", hcl("?mode=0666&backlog=5"))
	r := d.must(apply.Committed)
	if n := slices.IndexFunc(r.Plan.Steps, func(s plan.Step) bool { return s.Address == "probe.a" }); n < 0 || r.Plan.Steps[n].Op != plan.Update {
		t.Errorf("the plan: %+v", r.Plan.Steps)
	}
	if after := d.instance("probe.a"); mode() != 0o666 || after.Generation != before.Generation || after.Pid != before.Pid {
		t.Errorf("mode %o, want 0666; %+v was %+v", mode(), after, before)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		_ = c.Close()
	}
	// A user who is not there is found before anything changes.
	d.write("host.hcl", hcl("?mode=0600&owner=nosuchuser"))
	r = d.must(apply.RolledBack)
	if len(r.Diagnostics) != 1 || !strings.Contains(r.Diagnostics[0].Detail, "nosuchuser") || r.Diagnostics[0].Line != 3 || mode() != 0o666 {
		t.Errorf("mode %o; %+v", mode(), r.Diagnostics)
	}
	// So is an option that there is not.
	d.write("host.hcl", hcl("?mod=0600"))
	r = d.must(apply.Invalid)
	if len(r.Diagnostics) != 1 || !strings.Contains(r.Diagnostics[0].Detail, `Did you mean "mode"?`) || r.Diagnostics[0].Line != 3 {
		t.Errorf("%+v", r.Diagnostics)
	}
	d.write("host.hcl", "")
	d.must(apply.Committed)
	until(t, "the path is gone", func() bool { _, err := os.Lstat(path); return os.IsNotExist(err) })
}

// A process cannot run as a user that there is not.
func TestUnknownUser(t *testing.T) {
	d := run(t, setup(t, "", "probe-1.0.0"))
	d.write("host.hcl", "plugin \"probe\" \"a\" {\n  process {\n    user = \"nosuchuser\"\n  }\n}\n")
	r := d.must(apply.RolledBack)
	if len(r.Diagnostics) != 1 || r.Diagnostics[0].Line != 3 || !strings.Contains(r.Diagnostics[0].Detail, "nosuchuser") {
		t.Errorf("%+v", r.Diagnostics)
	}
}

// Two instances of one configuration cannot have overlapping addresses.
func TestOverlapIsAnError(t *testing.T) {
	port := freePort(t)
	dir := setup(t, "", "probe-1.0.0")
	d := run(t, dir)
	d.write("host.hcl", fmt.Sprintf("plugin \"probe\" \"a\" { listen = \"tcp://127.0.0.1:%d\" }\nplugin \"probe\" \"b\" { listen = \"tcp://:%d\" }\n", port, port))
	r := d.must(apply.Invalid)
	if len(r.Diagnostics) != 1 || r.Diagnostics[0].Line != 2 || !strings.Contains(r.Diagnostics[0].Detail, "host.hcl:1") {
		t.Errorf("%+v", r.Diagnostics)
	}
}

// A datagram socket passes from one reader to the next: each datagram is read
// once, in order, by the old one up to a point and by the new one from there.
func TestDatagramsPass(t *testing.T) {
	d := run(t, setup(t, "", "probe-1.0.0"))
	port := freePort(t)
	hcl := func(prefix string) string {
		return fmt.Sprintf("plugin \"probe\" \"a\" {\n  prefix = %q\n  packet = \"udp://127.0.0.1:%d?rcvbuf=4MiB\"\n}\n", prefix, port)
	}
	d.write("host.hcl", hcl("0 "))
	d.must(apply.Committed)
	conn, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.(*net.UDPConn).SetReadBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	var stop atomic.Bool
	var wait sync.WaitGroup
	wait.Go(func() {
		for !stop.Load() {
			if _, err := fmt.Fprint(conn, sent.Load()); err != nil {
				t.Error(err)
				return
			}
			sent.Add(1)
			time.Sleep(200 * time.Microsecond)
		}
	})
	byReader := map[string][]int{}
	answers := 0
	wait.Go(func() {
		b := make([]byte, 100)
		for last := time.Now(); !stop.Load() || answers < int(sent.Load()); last = time.Now() {
			_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			n, err := conn.Read(b)
			for errors.Is(err, os.ErrDeadlineExceeded) && answers < int(sent.Load()) && time.Since(last) < 20*time.Second {
				_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
				n, err = conn.Read(b)
			}
			if errors.Is(err, os.ErrDeadlineExceeded) && answers == int(sent.Load()) {
				continue // nothing was sent meanwhile
			}
			if err != nil {
				t.Errorf("%d of %d answered: %v", answers, sent.Load(), err)
				return
			}
			reader, number, _ := strings.Cut(string(b[:n]), " ")
			i, err := strconv.Atoi(number)
			if err != nil {
				t.Error(err)
			}
			byReader[reader] = append(byReader[reader], i)
			answers++
		}
	})
	some := func() {
		before := sent.Load()
		until(t, "datagrams are sent", func() bool { return sent.Load() > before+100 })
	}
	const readers = 5
	for n := 1; n < readers; n++ {
		some()
		if n%2 == 0 {
			drop(t, d.dir, fmt.Sprintf("probe-1.0.%d", n)) // another process
		}
		d.write("host.hcl", hcl(fmt.Sprintf("%d ", n)))
		d.must(apply.Committed)
	}
	some()
	stop.Store(true)
	wait.Wait()
	next := 0
	for n := range readers {
		got := byReader[strconv.Itoa(n)]
		slices.Sort(got)
		for _, i := range got {
			if i != next {
				t.Fatalf("reader %d read %d; it was the turn of %d", n, i, next)
			}
			next++
		}
		if len(got) == 0 {
			t.Errorf("reader %d read nothing", n)
		}
	}
	if next != int(sent.Load()) {
		t.Errorf("%d of %d were read", next, sent.Load())
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/control"
)

var errNotMeasured = errors.New("not measured")

// hostServer is this project's daemon with plugins/http in front, which answers
// with a text as its peers do, or, with events, from the outcome of an event that
// a process of this executable handles. Slow requests are always events.
type hostServer struct {
	daemon
	o      options
	size   int
	events bool
}

func (s *hostServer) config(what string, n int) string {
	timeout, process, extra := "30s", "", ""
	reply := fmt.Sprintf("  reply = %q\n", body)
	if s.events {
		reply = ""
	}
	switch {
	case what == "route":
		extra = fmt.Sprintf("route \"extra\" {\n  from = bench.answer.never\n  when = event.subject == \"%d\"\n  to   = bench.answer.fast\n}\n", n)
	case what == "replaced":
		timeout = fmt.Sprintf("%dms", 30_000+n)
	case what == "killed": // alone in its process, which may end often
		process = "  process {\n    isolation = \"instance\"\n    restart   = { max = 100000, within = \"1s\", backoff = \"1ms\" }\n  }\n"
	case what == "port" && n%2 == 1, what == "taken" && n%2 == 1:
		extra = httpInstance("extra", s.ports.extra, "30s", reply)
	case what == "invalid" && n%2 == 1:
		extra = "plugin \"http\" \"extra\" {\n  lisen = \"tcp://127.0.0.1:1\"\n}\n"
	}
	route := func(name, action string) string {
		return fmt.Sprintf("route %q {\n  from = http.%s.request\n  to   = bench.answer.%s\n}\n", name, name, action)
	}
	return s.frame() + httpInstance("live", s.ports.live, timeout, reply+process) + httpInstance("steady", s.ports.steady, "30s", reply) +
		httpInstance("slow", s.ports.slow, "30s", "") + "plugin \"bench\" \"answer\" {}\n" +
		route("live", "fast") + route("steady", "fast") + route("slow", "slow") + extra
}

func (s *hostServer) frame() string {
	return "host {\n  plugin_dir = \"plugins\"\n  state_dir  = \"state\"\n}\n"
}

func httpInstance(name string, port int, timeout, more string) string {
	return fmt.Sprintf("plugin \"http\" %q {\n  listen  = \"tcp://%s\"\n  path    = \"/\"\n  methods = [\"GET\"]\n  timeout = %q\n%s}\n", name, at(port), timeout, more)
}

func (s *hostServer) has(string) bool { return true }

// drop puts an executable into the plugin directory, as mv does: at once. What
// stands behind an executable changes its digest and nothing else.
func (s *hostServer) drop(from, name, mark string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	part := filepath.Join(s.dir, "plugins", name+".part")
	if err := os.WriteFile(part, append(b, mark...), 0o755); err != nil {
		return err
	}
	return os.Rename(part, filepath.Join(s.dir, "plugins", name))
}

func (s *hostServer) begin(ctx context.Context, config string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "plugins"), 0o755); err != nil {
		return err
	}
	if err := errors.Join(s.drop(self, "bench", ""), s.drop(filepath.Join(s.o.plugins, "http"), "http", "")); err != nil {
		return err
	}
	if err := s.write("host.hcl", config); err != nil {
		return err
	}
	return s.run(ctx, syscall.SIGTERM, s.o.host, "run", "-c", s.dir)
}

func (s *hostServer) start(ctx context.Context) error {
	if err := s.begin(ctx, s.config("", 0)); err != nil {
		return err
	}
	return s.answers(ctx, s.ports.live, s.ports.steady, s.ports.slow)
}

func (s *hostServer) change(ctx context.Context, what string, n int) (time.Duration, error) {
	if what == "killed" && n > 0 {
		return 0, s.kill(ctx)
	}
	if what == "upgraded" {
		if err := s.drop(filepath.Join(s.o.plugins, "http"), "http", fmt.Sprint(n)); err != nil {
			return 0, err
		}
	}
	if err := s.write("host.hcl", s.config(what, n)); err != nil {
		return 0, err
	}
	start := time.Now()
	out, err := s.reload(ctx)
	took := time.Since(start)
	if refused := (what == "invalid" || what == "taken") && n%2 == 1; (err != nil) != refused {
		return 0, fmt.Errorf("host reload: %w: %s", err, out)
	}
	if what == "port" && serves(s.ports.extra) != (n%2 == 1) {
		return 0, errors.New("host reload returned before the port was as configured")
	}
	return took, nil
}

func (s *hostServer) reload(ctx context.Context) ([]byte, error) {
	return exec.CommandContext(ctx, s.o.host, "reload", "-q", "-c", s.dir).CombinedOutput() //nolint:gosec // the server that is measured
}

func (s *hostServer) dial() (*control.Client, error) {
	return control.Dial("unix://" + filepath.Join(s.dir, "state", "run", "host.sock"))
}

// kill ends the process of the instance that is asked.
func (s *hostServer) kill(ctx context.Context) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	for _, in := range status.Instances {
		if in.Address == "http.live" && in.Pid != 0 {
			return syscall.Kill(in.Pid, syscall.SIGKILL)
		}
	}
	return nil // it is being started again
}

func (s *hostServer) many(ctx context.Context, size int) error {
	p, err := blockOfPorts(size)
	if err != nil {
		return err
	}
	s.size, s.ports.live = size, p[0]
	if err := s.write("ports", strings.Trim(fmt.Sprint(p), "[]")); err != nil {
		return err
	}
	config, err := s.manyConfig(0)
	if err != nil {
		return err
	}
	if err := s.begin(ctx, config); err != nil {
		return err
	}
	return s.answers(ctx, p[0])
}

func (s *hostServer) manyConfig(n int) (string, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, "ports"))
	if err != nil {
		return "", err
	}
	var all strings.Builder
	all.WriteString(s.frame())
	all.WriteString("plugin \"bench\" \"answer\" {}\nroute \"s0\" {\n  from = http.s0.request\n  to   = bench.answer.fast\n}\n")
	for i, f := range strings.Fields(string(b)) {
		var port int
		if _, err := fmt.Sscan(f, &port); err != nil {
			return "", err
		}
		timeout := "30s"
		if i == 0 {
			timeout = fmt.Sprintf("%dms", 30_000+n)
		}
		all.WriteString(httpInstance(fmt.Sprintf("s%d", i), port, timeout, ""))
	}
	return all.String(), nil
}

// one measures the command as its user sees it, and then the phases of another
// reload over the control API.
func (s *hostServer) one(ctx context.Context, n int) (sizeTimes, error) {
	config, err := s.manyConfig(2 * n)
	if err == nil {
		err = s.write("host.hcl", config)
	}
	if err != nil {
		return sizeTimes{}, err
	}
	start := time.Now()
	if out, err := s.reload(ctx); err != nil {
		return sizeTimes{}, fmt.Errorf("host reload: %w: %s", err, out)
	}
	t := sizeTimes{whole: time.Since(start)}
	if get(s.ports.live, "/") == "" {
		return t, errors.New("the instance that changed does not answer")
	}
	if config, err = s.manyConfig(2*n + 1); err == nil {
		err = s.write("host.hcl", config)
	}
	if err != nil {
		return t, err
	}
	c, err := s.dial()
	if err != nil {
		return t, err
	}
	defer c.Close()
	var begin, loaded time.Time
	r, err := c.Reload(ctx, apply.Request{}, func(p apply.Progress) {
		switch {
		case begin.IsZero():
			begin = p.Time
		case p.Phase == apply.Load && p.Done:
			loaded = p.Time
		}
	})
	if err == nil && r.Outcome != apply.Committed {
		err = fmt.Errorf("reload: %s %s", r.Outcome, r.Message)
	}
	t.phases = r.Elapsed - loaded.Sub(begin)
	return t, err
}

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// nginx is Debian's nginx with as many workers as there are CPUs.
type nginx struct{ daemon }

const nginxFrame = `
daemon off;
worker_processes auto;
worker_rlimit_nofile 20000;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 8192; }
http {
  access_log off;
  default_type application/json;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
%[2]s}
`

func nginxServer(port int, body, more string) string {
	return fmt.Sprintf("  server {\n    listen %s backlog=4096;\n    location / { return 200 '%s'; }\n%s  }\n", at(port), body, more)
}

func (s *nginx) config(what string, n int) string {
	live, more, extra := body, "", ""
	switch {
	case what == "route":
		more = fmt.Sprintf("    location = /extra { return 200 'extra %d'; }\n", n)
	case what == "replaced":
		live = fmt.Sprintf("{\"ok\":true,\"n\":%d}\n", n)
	case what == "port" && n%2 == 1, what == "taken" && n%2 == 1:
		extra = nginxServer(s.ports.extra, body, "")
	case what == "invalid" && n%2 == 1:
		extra = "  serve {}\n"
	}
	return fmt.Sprintf(nginxFrame, s.dir, nginxServer(s.ports.live, live, more)+nginxServer(s.ports.steady, body, "")+
		fmt.Sprintf("  server {\n    listen %s;\n    location / { proxy_pass http://%s; }\n  }\n", at(s.ports.slow), s.behind)+extra)
}

func (s *nginx) has(what string) bool { return what != "upgraded" }

func (s *nginx) start(ctx context.Context) error {
	if err := s.proxied(ctx); err != nil {
		return err
	}
	if err := s.write("nginx.conf", s.config("", 0)); err != nil {
		return err
	}
	if err := s.run(ctx, syscall.SIGTERM, "nginx", "-c", filepath.Join(s.dir, "nginx.conf")); err != nil {
		return err
	}
	return s.answers(ctx, s.ports.live, s.ports.steady, s.ports.slow)
}

// change reloads. nginx answers before it has: the time is that of the first
// answer of the new configuration where it can be told from the old one.
func (s *nginx) change(ctx context.Context, what string, n int) (time.Duration, error) {
	if what == "killed" {
		return 0, killOne(s.cmd.Process.Pid, "nginx")
	}
	if err := s.write("nginx.conf", s.config(what, n)); err != nil {
		return 0, err
	}
	start := time.Now()
	out, err := s.signal(ctx)
	if err != nil && (what != "invalid" || n%2 == 0) {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	switch what {
	case "route":
		err = poll(ctx, func() bool {
			return get(s.ports.steady, "/") != "" && get(s.ports.live, "/extra") == fmt.Sprint("extra ", n)
		})
	case "replaced":
		want := fmt.Sprintf("{\"ok\":true,\"n\":%d}\n", n)
		err = poll(ctx, func() bool { return get(s.ports.live, "/") == want })
	case "port":
		err = poll(ctx, func() bool { return serves(s.ports.extra) == (n%2 == 1) })
	default:
		err = nil
	}
	return time.Since(start), err
}

func (s *nginx) signal(ctx context.Context) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "nginx", "-c", filepath.Join(s.dir, "nginx.conf"), "-s", "reload") //nolint:gosec // likewise
	return cmd.CombinedOutput()
}

// killOne ends one child of a process with SIGKILL.
func killOne(parent int, name string) error {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", parent))
	if err != nil {
		return err
	}
	for _, f := range strings.Fields(string(children)) {
		comm, err := os.ReadFile(filepath.Join("/proc", f, "comm"))
		if err != nil || strings.TrimSpace(string(comm)) != name {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(f, &pid); err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	}
	return fmt.Errorf("process %d has no child %s", parent, name)
}

func (s *nginx) many(ctx context.Context, size int) error {
	p, err := blockOfPorts(size)
	if err != nil {
		return err
	}
	s.ports.live = p[0]
	if err := s.write("ports", strings.Trim(fmt.Sprint(p), "[]")); err != nil {
		return err
	}
	if err := s.writeMany(0); err != nil {
		return err
	}
	if err := s.run(ctx, syscall.SIGTERM, "nginx", "-c", filepath.Join(s.dir, "nginx.conf")); err != nil {
		return err
	}
	return s.answers(ctx, p[0], p[len(p)-1])
}

func (s *nginx) writeMany(n int) error {
	b, err := os.ReadFile(filepath.Join(s.dir, "ports"))
	if err != nil {
		return err
	}
	var blocks strings.Builder
	for i, f := range strings.Fields(string(b)) {
		var port int
		if _, err := fmt.Sscan(f, &port); err != nil {
			return err
		}
		text := body
		if i == 0 {
			text = fmt.Sprintf("{\"ok\":true,\"n\":%d}\n", n)
		}
		blocks.WriteString(nginxServer(port, text, ""))
	}
	return s.write("nginx.conf", fmt.Sprintf(nginxFrame, s.dir, blocks.String()))
}

func (s *nginx) one(ctx context.Context, n int) (sizeTimes, error) {
	if err := s.writeMany(n); err != nil {
		return sizeTimes{}, err
	}
	start := time.Now()
	if out, err := s.signal(ctx); err != nil {
		return sizeTimes{}, fmt.Errorf("%w: %s", err, out)
	}
	want := fmt.Sprintf("{\"ok\":true,\"n\":%d}\n", n)
	err := poll(ctx, func() bool { return get(s.ports.live, "/") == want })
	return sizeTimes{whole: time.Since(start)}, err
}

// caddy is Debian's Caddy.
type caddy struct{ daemon }

func caddySite(port int, body, more string) string {
	return fmt.Sprintf("http://:%d {\n  bind 127.0.0.1\n%s  respond `%s`\n}\n", port, more, body)
}

func (s *caddy) config(what string, n int) string {
	live, more, extra := body, "", ""
	switch {
	case what == "route":
		more = fmt.Sprintf("  respond /extra `extra %d`\n", n)
	case what == "replaced":
		live = fmt.Sprintf("{\"ok\":true,\"n\":%d}\n", n)
	case what == "port" && n%2 == 1, what == "taken" && n%2 == 1:
		extra = caddySite(s.ports.extra, body, "")
	case what == "invalid" && n%2 == 1:
		extra = "http://:1 {\n  respnd x\n}\n"
	}
	return fmt.Sprintf("{\n  admin %s\n  auto_https off\n  log {\n    level ERROR\n  }\n}\n", at(s.ports.admin)) +
		caddySite(s.ports.live, live, more) + caddySite(s.ports.steady, body, "") +
		fmt.Sprintf("http://:%d {\n  bind 127.0.0.1\n  reverse_proxy %s\n}\n", s.ports.slow, s.behind) + extra
}

func (s *caddy) has(what string) bool { return !slices.Contains([]string{"upgraded", "killed"}, what) }

func (s *caddy) start(ctx context.Context) error {
	if err := s.proxied(ctx); err != nil {
		return err
	}
	if err := s.write("Caddyfile", s.config("", 0)); err != nil {
		return err
	}
	if err := s.run(ctx, syscall.SIGTERM, "caddy", "run", "--config", filepath.Join(s.dir, "Caddyfile"), "--adapter", "caddyfile"); err != nil {
		return err
	}
	return s.answers(ctx, s.ports.live, s.ports.steady, s.ports.slow)
}

func (s *caddy) change(ctx context.Context, what string, n int) (time.Duration, error) {
	if err := s.write("Caddyfile", s.config(what, n)); err != nil {
		return 0, err
	}
	start := time.Now()
	cmd := exec.CommandContext(ctx, "caddy", "reload", "--config", filepath.Join(s.dir, "Caddyfile"), "--adapter", "caddyfile", "--address", at(s.ports.admin)) //nolint:gosec // likewise
	out, err := cmd.CombinedOutput()
	if refused := (what == "invalid" || what == "taken") && n%2 == 1; (err != nil) != refused {
		return 0, fmt.Errorf("caddy reload: %w: %s", err, out)
	}
	return time.Since(start), nil
}

func (s *caddy) many(context.Context, int) error { return errNotMeasured }

func (s *caddy) one(context.Context, int) (sizeTimes, error) { return sizeTimes{}, errNotMeasured }

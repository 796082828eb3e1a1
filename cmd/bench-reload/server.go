package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience bounds all that is not measured: a start, an answer, an end.
const patience = 60 * time.Second

// body is what a request is answered with.
const body = "{\"ok\":true}\n"

// ports are where a server listens.
type ports struct{ live, steady, slow, extra, admin int }

// server is one of those compared.
type server interface {
	// start writes the first configuration and returns when the server answers.
	start(ctx context.Context) error
	// has says whether it has a case.
	has(what string) bool
	// change makes the n-th change of a case and reloads. It returns how long
	// it took until the new configuration served, or, where it was to be
	// refused, until that was known.
	change(ctx context.Context, what string, n int) (time.Duration, error)
	// many starts it with a number of servers, and one the n-th change of one
	// of them.
	many(ctx context.Context, size int) error
	one(ctx context.Context, n int) (sizeTimes, error)
	stop()
}

// sizeTimes are how long a reload took in all, and its phases after the
// configuration was read, where they are known.
type sizeTimes struct{ whole, phases time.Duration }

// makers make servers in a directory of their own.
var makers = map[string]func(o options, dir string, p ports) server{
	"host": func(o options, dir string, p ports) server {
		return &hostServer{daemon: daemon{dir: dir, ports: p}, o: o}
	},
	"events": func(o options, dir string, p ports) server {
		return &hostServer{daemon: daemon{dir: dir, ports: p}, o: o, events: true}
	},
	"nginx": func(_ options, dir string, p ports) server { return &nginx{daemon{dir: dir, ports: p}} },
	"caddy": func(_ options, dir string, p ports) server { return &caddy{daemon{dir: dir, ports: p}} },
}

// missing says what has to be installed.
func missing(servers []string) error {
	var packages []string
	for _, s := range servers {
		if s == "host" || s == "events" {
			continue
		}
		if _, err := exec.LookPath(s); err != nil {
			packages = append(packages, s)
		}
	}
	if len(packages) > 0 {
		return fmt.Errorf("missing: %s. Run: apt-get install %s, or leave them out with -servers", strings.Join(packages, " and "), strings.Join(packages, " "))
	}
	return nil
}

// daemon is a server's process.
type daemon struct {
	dir     string
	ports   ports
	cmd     *exec.Cmd
	backend *exec.Cmd
	behind  string // where the backend listens
	stdin   io.Closer
}

// run starts the process. It is asked to end with a signal.
func (d *daemon) run(ctx context.Context, end syscall.Signal, name string, args ...string) error {
	log, err := os.Create(filepath.Join(d.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	d.cmd = exec.CommandContext(ctx, name, args...) //nolint:gosec // the server that is measured
	d.cmd.Cancel = func() error { return d.cmd.Process.Signal(end) }
	d.cmd.WaitDelay = patience
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.Env = append(os.Environ(), "HOME="+d.dir, "XDG_DATA_HOME="+d.dir, "XDG_CONFIG_HOME="+d.dir)
	return d.cmd.Start()
}

// proxied starts the backend.
func (d *daemon) proxied(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	d.backend = exec.CommandContext(ctx, self, "backend")
	out, err := d.backend.StdoutPipe()
	if err != nil {
		return err
	}
	if d.stdin, err = d.backend.StdinPipe(); err != nil {
		return err
	}
	if err := d.backend.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	d.behind = strings.TrimSpace(line)
	return err
}

// answers waits until a port answers with 200.
func (d *daemon) answers(ctx context.Context, ports ...int) error {
	for end := time.Now().Add(patience); ; {
		good := true
		for _, p := range ports {
			good = good && get(p, "/") != ""
		}
		if good {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(end) {
			b, _ := os.ReadFile(filepath.Join(d.dir, "log")) // without it the error says less
			return fmt.Errorf("it does not answer: %s", tail(b))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

// get returns the body of a response of 200, or nothing.
func get(port int, path string) string {
	c, err := connect(port)
	if err != nil {
		return ""
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path); err != nil {
		return ""
	}
	b, err := io.ReadAll(c)
	if err != nil || !bytes.HasPrefix(b, []byte("HTTP/1.1 200")) {
		return ""
	}
	_, text, _ := strings.Cut(string(b), "\r\n\r\n")
	return text
}

// listen and connect are short, on loopback.
func listen(address string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(context.Background(), "tcp4", address)
}

func connect(port int) (net.Conn, error) {
	return (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp4", at(port))
}

func at(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// poll waits until something is so.
func poll(ctx context.Context, so func() bool) error {
	for end := time.Now().Add(patience); !so(); time.Sleep(time.Millisecond) {
		if ctx.Err() != nil || time.Now().After(end) {
			return errors.New("the new configuration does not come into force")
		}
	}
	return nil
}

// serves reports whether somebody accepts connections on a port.
func serves(port int) bool {
	c, err := connect(port)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

func (d *daemon) write(name, text string) error {
	return os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o644)
}

// stop ends the processes and waits for them.
func (d *daemon) stop() {
	if d.stdin != nil {
		_ = d.stdin.Close()
	}
	if d.cmd != nil && d.cmd.Process != nil {
		_ = d.cmd.Cancel()
		kill := time.AfterFunc(patience, func() { _ = d.cmd.Process.Kill() })
		_ = d.cmd.Wait() // how it ended is of no interest
		kill.Stop()
	}
	if d.backend != nil {
		_ = d.backend.Wait()
	}
	_ = os.RemoveAll(d.dir)
}

// blockOfPorts finds n ports on which nobody listens, outside of those that the
// kernel gives to whoever asks for any.
func blockOfPorts(n int) ([]int, error) {
	var all []int
	for port := 10_000; port < 32_000 && len(all) < n; port++ {
		l, err := listen(at(port))
		if err != nil {
			continue
		}
		_ = l.Close()
		all = append(all, port)
	}
	if len(all) < n {
		return nil, fmt.Errorf("there are %d free ports below 32000; it takes %d", len(all), n)
	}
	return all, nil
}

// freePorts finds ports on which nobody listens.
func freePorts(n int) ([]int, error) {
	var all []int
	for range n {
		l, err := listen("127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // all at once, so that none comes twice
		all = append(all, l.Addr().(*net.TCPAddr).Port)
	}
	return all, nil
}

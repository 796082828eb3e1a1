package host_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/host/apply"
	"github.com/pluginhost/host/host/catalog"
	"github.com/pluginhost/host/host/config"
	"github.com/pluginhost/host/host/control"
	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/sdktest/port"
	"github.com/pluginhost/host/sdk/wire"
)

// daemon is a running daemon on a configuration of its own.
type daemon struct {
	*control.Client
	t      *testing.T
	dir    string // configuration; plugins in dir/plugins, state in dir/state
	stdout *buffer
	log    *buffer
	reload chan os.Signal
	stop   func() error // drains, once; the error is Run's
}

// setup makes a configuration directory with plugins: "probe-1.0.0" is the
// test binary under that name, others come from plugins/.
func setup(t *testing.T, hcl string, plugins ...string) (dir string) {
	t.Helper()
	// Unix socket paths are short: t.TempDir holds the whole name of the test.
	dir, err := os.MkdirTemp("", "host")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "plugins"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range plugins {
		drop(t, dir, p)
	}
	write(t, filepath.Join(dir, "host.hcl"), hcl)
	return dir
}

// drop puts a plugin into the plugin directory, as mv does: at once.
func drop(t *testing.T, dir, name string) {
	t.Helper()
	var from, mark string
	if strings.HasPrefix(name, "probe") {
		from, _ = os.Executable()
		mark = "\n" + name // another digest for another name
	} else {
		from = firstParty(t, name)
	}
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(dir, "plugins", name+".part")
	if err := os.WriteFile(part, append(b, mark...), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(part, filepath.Join(dir, "plugins", name)); err != nil {
		t.Fatal(err)
	}
}

var build struct {
	once sync.Once
	dir  string
	err  error
}

// firstParty builds the plugins of this repository once and returns one.
func firstParty(t *testing.T, name string) string {
	t.Helper()
	build.once.Do(func() {
		build.dir, build.err = os.MkdirTemp("", "plugins")
		if build.err == nil {
			cmd := exec.Command("go", "build", "-o", build.dir, "../plugins/...")
			cmd.Stderr = os.Stderr
			build.err = cmd.Run()
		}
	})
	if build.err != nil {
		t.Fatal(build.err)
	}
	return filepath.Join(build.dir, name)
}

// run starts a daemon and waits until it serves.
func run(t *testing.T, dir string) *daemon {
	t.Helper()
	d, err := try(t, dir)
	if err != nil {
		t.Fatalf("the daemon did not start: %v\n%s", describe(err), d.log)
	}
	return d
}

// try starts a daemon; the error is Run's, when it did not come up.
func try(t *testing.T, dir string) (*daemon, error) {
	t.Helper()
	d := &daemon{t: t, dir: dir, stdout: &buffer{}, log: &buffer{}, reload: make(chan os.Signal, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- host.Run(ctx, host.Options{
			Source:  config.Source{Dir: dir, Env: os.Environ()},
			Record:  1 << 17, // a tail on a busy machine may be slow
			Version: "test", Self: "/proc/self/exe", Stdout: d.stdout, Reload: d.reload,
			Log:   hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: d.log}),
			Ready: func(socket string) { ready <- socket },
		})
	}()
	stop := sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(time.Minute):
			buf := make([]byte, 1<<20)
			return fmt.Errorf("the daemon did not stop\n%s", buf[:runtime.Stack(buf, true)])
		}
	})
	d.stop = stop
	t.Cleanup(func() {
		if err := stop(); err != nil && !t.Failed() {
			t.Errorf("the daemon ended with %v", err)
		}
		if t.Failed() {
			t.Logf("log of the daemon:\n%s", d.log)
		}
	})
	select {
	case socket := <-ready:
		c, err := control.Dial("unix://" + socket)
		if err != nil {
			t.Fatal(err)
		}
		d.Client = c
		t.Cleanup(func() { // every test balances its books
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if s, err := c.Status(ctx); err == nil { // else the test has stopped it
				if err := balance(s); err != nil {
					t.Error(err)
				}
				m, err := c.Metrics(ctx)
				if err == nil {
					err = balanceMetrics(m)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
		return d, nil
	case err := <-ended:
		cancel()
		d.stop = func() error { return nil }
		stop = d.stop
		return d, err
	case <-time.After(20 * time.Second):
		buf := make([]byte, 1<<20)
		t.Fatalf("the daemon neither serves nor ends\n%s\n%s", d.log, buf[:runtime.Stack(buf, true)])
		return nil, nil
	}
}

func describe(err error) string {
	var invalid *host.InvalidError
	var rolled *host.RolledBackError
	var b strings.Builder
	b.WriteString(err.Error())
	switch {
	case errors.As(err, &invalid):
		b.WriteByte('\n')
		invalid.Diagnostics.WriteText(&b, false)
	case errors.As(err, &rolled):
		b.WriteByte('\n')
		rolled.Diagnostics.WriteText(&b, false)
	}
	return b.String()
}

func (d *daemon) write(name, text string) { write(d.t, filepath.Join(d.dir, name), text) }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// must reloads and wants an outcome.
func (d *daemon) must(want apply.Outcome) apply.Result {
	d.t.Helper()
	r, err := d.Reload(d.t.Context(), apply.Request{}, func(apply.Progress) {})
	if err != nil {
		d.t.Fatal(err)
	}
	if r.Outcome != want {
		var b strings.Builder
		r.Diagnostics.WriteText(&b, false)
		d.t.Fatalf("reload: %s, want %s: %s\n%s", r.Outcome, want, r.Message, b.String())
	}
	return r
}

// emit sends an event by hand.
func (d *daemon) emit(eventType, data string) control.EmitResult {
	d.t.Helper()
	r, err := d.Emit(d.t.Context(), control.EmitRequest{Type: eventType, Data: json.RawMessage(data), Timeout: 20 * time.Second})
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// wants checks that an event sent by hand is answered with text.
func (d *daemon) wants(eventType, data, text string) {
	d.t.Helper()
	r := d.emit(eventType, data)
	var w word
	if r.Err != nil {
		d.t.Errorf("%s %s: %v", eventType, data, r.Err)
	} else if err := json.Unmarshal(r.Value, &w); err != nil || w.Text != text {
		d.t.Errorf("%s %s: %s, want %s", eventType, data, r.Value, text)
	}
}

func (d *daemon) status() observe.Status {
	d.t.Helper()
	s, err := d.Status(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

func (d *daemon) generations() control.Generations {
	d.t.Helper()
	g, err := d.Generations(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return g
}

// mark gives an executable another digest, as a new build does, at once.
func mark(t *testing.T, path string, n int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path+".part", fmt.Appendf(b, "\n%d", n), 0o755)
	}
	if err == nil {
		err = os.Rename(path+".part", path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// instance returns the state of an instance.
func (d *daemon) instance(address string) observe.Instance {
	d.t.Helper()
	s := d.status()
	n := slices.IndexFunc(s.Instances, func(i observe.Instance) bool { return i.Address == address })
	if n < 0 {
		d.t.Fatalf("there is no %s in %+v", address, s.Instances)
	}
	return s.Instances[n]
}

// plugin returns the catalog's entry for a file.
func (d *daemon) plugin(file string) (catalog.Entry, bool) {
	d.t.Helper()
	entries, err := d.Plugins(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	n := slices.IndexFunc(entries, func(e catalog.Entry) bool { return filepath.Base(e.Path) == file })
	if n < 0 {
		return catalog.Entry{}, false
	}
	return entries[n], true
}

// until waits for a condition, at most a generous while.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long: %s", what)
		}
	}
}

// ledger checks that what was accepted is accounted for.
func (d *daemon) ledger() {
	d.t.Helper()
	if err := balance(d.status()); err != nil {
		d.t.Error(err)
	}
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}

// freePort returns a port that is this test's alone.
func freePort(t *testing.T) int {
	t.Helper()
	return port.Free(t)
}

// inode returns the inode of the socket that listens on a port of 127.0.0.1.
func inode(t *testing.T, port int) string {
	t.Helper()
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n")[1:] {
		f := strings.Fields(line)
		if len(f) > 9 && f[3] == "0A" && f[1] == "0100007F:"+strings.ToUpper(fmt.Sprintf("%04s", strconv.FormatInt(int64(port), 16))) {
			return f[9]
		}
	}
	t.Fatalf("nobody listens on port %d", port)
	return ""
}

// ask connects and returns what the other side says.
func ask(port int) (string, error) {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 5*time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(c)
	return string(b), err
}

// buffer is a bytes.Buffer for many goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

var _ = wire.Unavailable

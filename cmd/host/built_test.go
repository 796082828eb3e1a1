package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pluginhost/host/sdk/sdktest/port"
)

// built is what make build makes.
var built struct {
	once sync.Once
	dir  string // holds host and plugins/
	err  error
}

// bin builds host and the plugins once and returns the directory.
func bin(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "bin"); built.err != nil {
			return
		}
		for _, args := range [][]string{{"-o", built.dir + "/host", "."}, {"-o", built.dir + "/plugins/", "../../plugins/..."}} {
			if out, err := exec.Command("go", append([]string{"build"}, args...)...).CombinedOutput(); err != nil {
				built.err = fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, out)
				return
			}
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

// shown collects what a process prints.
type shown struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shown) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shown) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// site is a configuration with a daemon of its own, both of them real.
type site struct {
	t       *testing.T
	dir     string // working directory of every command
	config  string
	plugins string
	out     *shown    // of the daemon
	stdout  io.Writer // of the daemon, in place of out; else nil
}

// quickstart copies testdata/quickstart, with a free port and a plugin directory
// of its own, and runs it.
func quickstart(t *testing.T) (s *site, url string) {
	t.Helper()
	s, url = copied(t)
	s.start()
	return s, url
}

// copied is the quickstart before it runs.
func copied(t *testing.T) (s *site, url string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "quick") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s = &site{t: t, dir: dir, config: filepath.Join(dir, "testdata", "quickstart"), plugins: filepath.Join(dir, "bin", "plugins"), out: &shown{}}
	files, err := filepath.Glob("../../testdata/quickstart/*.*")
	if err != nil || len(files) < 2 {
		t.Fatalf("the quickstart is %v, %v", files, err)
	}
	addr := freeAddr(t)
	for _, f := range files {
		copyFile(t, f, filepath.Join(s.config, filepath.Base(f)), func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("127.0.0.1:8080"), []byte(addr))
		})
	}
	names, err := os.ReadDir(filepath.Join(bin(t), "plugins"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		copyFile(t, filepath.Join(bin(t), "plugins", n.Name()), filepath.Join(s.plugins, n.Name()), nil)
	}
	return s, "http://" + addr
}

func copyFile(t *testing.T, from, to string, change func([]byte) []byte) {
	t.Helper()
	st, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		b = change(b)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, st.Mode().Perm()&0o755); err != nil {
		t.Fatal(err)
	}
}

// freeAddr returns an address that is this test's alone.
func freeAddr(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", port.Free(t))
}

// start runs the daemon until the end of the test.
func (s *site) start() {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(bin(s.t), "host"), "run", "-c", s.config)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = s.dir, s.out, s.out, s.env()
	if s.stdout != nil {
		cmd.Stdout = s.stdout
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case err := <-ended:
			if err != nil {
				s.t.Errorf("the daemon ended with %v", err)
			}
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			<-ended
			s.t.Error("the daemon did not end")
		}
		if s.t.Failed() {
			s.t.Logf("output of the daemon:\n%s", s.out)
		}
	})
	s.until("the daemon serves", func() bool { return strings.Contains(s.out.String(), "ready: control=") })
}

func (s *site) env() []string {
	return append(os.Environ(), "HOST_ADDR=", "NO_COLOR=", "HOST_USER=root")
}

// until waits for something that comes soon unless it is broken.
func (s *site) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	s.t.Fatalf("not within a minute: %s\n%s", what, s.out)
}

// host runs a command, wants its exit code, and returns its standard output.
func (s *site) host(want int, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin(s.t), "host"), append(args, "-c", s.config)...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = s.dir, &stdout, &stderr, s.env()
	_ = cmd.Run() // the exit code is looked at
	if got := cmd.ProcessState.ExitCode(); got != want {
		s.t.Fatalf("host %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, want, &stdout, &stderr)
	}
	return stdout.String()
}

// post sends a request and returns the status, the body and the event's id.
func (s *site) post(method, url, body string) (status int, answer map[string]any, id string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	c := http.Client{Timeout: time.Minute}
	r, err := c.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		s.t.Fatalf("%s %s: %s is not JSON: %s", method, url, r.Status, b)
	}
	return r.StatusCode, answer, r.Header.Get("X-Event-Id")
}

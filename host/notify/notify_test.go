package notify_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/notify"
)

// listen is systemd's end of the protocol.
func listen(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return c
}

// next returns the assignments of the next datagram.
func next(t *testing.T, c *net.UnixConn) map[string]string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, l := range strings.Split(string(b[:n]), "\n") {
		k, v, ok := strings.Cut(l, "=")
		if !ok || m[k] != "" || !regexp.MustCompile(`^[A-Z_]+$`).MatchString(k) {
			t.Errorf("%q is not an assignment, in %q", l, b[:n])
		}
		m[k] = v
	}
	return m
}

func want(t *testing.T, got map[string]string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		k, v, _ := strings.Cut(w, "=")
		if got[k] != v {
			t.Errorf("%s=%q, want %q, in %v", k, got[k], v, got)
		}
	}
	if len(got) != len(wants) {
		t.Errorf("%v, want %v", got, wants)
	}
}

func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano() / 1000
}

func TestProtocol(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "s"), fmt.Sprintf("@host-test-%d", os.Getpid())} {
		c := listen(t, name)
		n := notify.New(true, hclog.NewNullLogger())
		n.Starting(2 * time.Second)
		want(t, next(t, c), "STATUS=starting", "EXTEND_TIMEOUT_USEC=2000000")
		n.Reloading(time.Second) // the first generation is no reload
		n.Reloaded("x")
		n.Ready("generation 1\nREADY=0")
		want(t, next(t, c), "READY=1", "STATUS=generation 1 READY=0")

		// systemd takes the time for that of an answer to what it asked before.
		before := monotonic()
		n.Reloading(time.Minute)
		got := next(t, c)
		usec, err := strconv.ParseInt(got["MONOTONIC_USEC"], 10, 64)
		if err != nil || usec < before || usec > monotonic() {
			t.Errorf("MONOTONIC_USEC=%s is not between %d and %d", got["MONOTONIC_USEC"], before, monotonic())
		}
		want(t, got, "RELOADING=1", "MONOTONIC_USEC="+got["MONOTONIC_USEC"], "STATUS=reloading", "EXTEND_TIMEOUT_USEC=60000000")
		n.Reloading(time.Minute) // a newer one takes its place
		if got := next(t, c); got["RELOADING"] != "1" {
			t.Error(got)
		}
		n.Reloaded("superseded")
		n.Reloaded("generation 2")
		want(t, next(t, c), "READY=1", "STATUS=generation 2")
		n.Stopping(35 * time.Second)
		want(t, next(t, c), "STOPPING=1", "STATUS=stopping: what is in flight is finished", "EXTEND_TIMEOUT_USEC=35000000")
		n.Reloading(time.Second)
		n.Reloaded("too late")
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("something is said after the end: %v", err)
		}
	}
}

func TestWatchdog(t *testing.T) {
	c := listen(t, filepath.Join(t.TempDir(), "s"))
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getppid()))
	ctx, cancel := context.WithCancel(t.Context())
	fails := make(chan bool, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = notify.New(true, hclog.NewNullLogger()).Run(ctx, func(context.Context) error {
			select {
			case <-fails:
				cancel()
				return errors.New("stuck")
			default:
				return nil
			}
		})
	}()
	for range 3 {
		want(t, next(t, c), "WATCHDOG=1")
	}
	fails <- true
	<-ended
	// Somebody else's watchdog is none of ours.
	t.Setenv("WATCHDOG_PID", "1")
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_ = notify.New(true, hclog.NewNullLogger()).Run(ctx, func(context.Context) error { t.Error("asked"); return nil })
}

func TestWithoutSystemd(t *testing.T) {
	c := listen(t, filepath.Join(t.TempDir(), "s"))
	notify.New(false, hclog.NewNullLogger()).Ready("not for us")
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("something is sent: %v", err)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	notify.New(true, hclog.NewNullLogger()).Ready("nobody hears it")
}

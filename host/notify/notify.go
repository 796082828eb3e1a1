// Package notify tells systemd how the daemon is, as sd_notify(3) says: that
// it is ready, reloads or stops, how long that may take, and that it is alive.
// Without systemd it does nothing. It decides nothing and asks nobody.
package notify

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
)

// Notifier sends to the socket that NOTIFY_SOCKET names.
type Notifier struct {
	log     hclog.Logger
	enabled bool

	mu       sync.Mutex
	ready    bool // the service is up: from now on a change is a reload
	stopping bool
	reloads  int // that have not ended
}

// New returns a notifier. Where wanted is false, or NOTIFY_SOCKET is not set, it
// sends nothing.
func New(wanted bool, log hclog.Logger) *Notifier {
	return &Notifier{log: log, enabled: wanted && os.Getenv("NOTIFY_SOCKET") != ""}
}

// send sends assignments in one datagram. n.mu is held, so that the order is
// that of what happened.
func (n *Notifier) send(lines ...string) {
	if !n.enabled {
		return
	}
	if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		n.log.Warn("systemd cannot be told", "error", err)
	}
}

func status(format string, args ...any) string {
	return "STATUS=" + strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, fmt.Sprintf(format, args...))
}

// extend asks for time beyond what the unit allows.
func extend(d time.Duration) string {
	return "EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10)
}

// Starting says that the first generation takes at most so long.
func (n *Notifier) Starting(most time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.send(status("starting"), extend(most))
}

// Ready says that the daemon serves; text says what.
func (n *Notifier) Ready(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ready = true
	n.send("READY=1", status("%s", text))
}

// Reloading says that a change begins, which takes at most so long. The time
// in it lets systemd tell which of its requests it answers.
func (n *Notifier) Reloading(most time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ready || n.stopping {
		return
	}
	n.reloads++
	n.send("RELOADING=1", strings.TrimSpace(daemon.SdNotifyMonotonicUsec()), status("reloading"), extend(most))
}

// Reloaded says that a change has ended, whether it was committed or not. When
// it was the last, the daemon is ready again.
func (n *Notifier) Reloaded(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ready || n.stopping {
		return
	}
	if n.reloads = max(0, n.reloads-1); n.reloads == 0 {
		n.send("READY=1", status("%s", text))
	}
}

// Stopping says that the daemon ends, which takes at most so long.
func (n *Notifier) Stopping(most time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopping = true
	n.send("STOPPING=1", status("stopping: what is in flight is finished"), extend(most))
}

// Run tells the watchdog, where the unit has one, that the daemon is alive, as
// long as alive returns nil in time. It returns when ctx ends.
func (n *Notifier) Run(ctx context.Context, alive func(context.Context) error) error {
	every := n.watchdog()
	if every == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		bounded, cancel := context.WithTimeout(ctx, every/2)
		err := alive(bounded)
		cancel()
		if err == nil {
			n.mu.Lock()
			n.send("WATCHDOG=1")
			n.mu.Unlock()
		} else if ctx.Err() == nil {
			n.log.Error("the watchdog is not told that the daemon is alive", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// watchdog returns how often systemd wants to hear something, 0 for never. The
// pid that it names is that of the service, which may be our parent.
func (n *Notifier) watchdog() time.Duration {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 || !n.enabled {
		return 0
	}
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) && pid != strconv.Itoa(os.Getppid()) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}

// Package supervise is the daemon's outer process: it stays what the user
// started, keeps the spawner, runs the manager as its child, passes signals on,
// and starts the manager again when that crashes. cmd/host is its caller.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/policy"
	"github.com/pluginhost/host/host/spawner/server"
)

// Bounds of restarts of the manager.
const (
	maxCrashes = 5 // within crashTime; the next ends everything
	crashTime  = time.Minute
	minPause   = 50 * time.Millisecond // before a restart; doubles
)

// crashCode is how a Go program ends that panics.
const crashCode = 2

// exitSoftware is the exit code when the manager crashes again and again.
const exitSoftware = 70 // EX_SOFTWARE

// Options configure Run.
type Options struct {
	Argv []string // of the manager
	Self string   // executable, whose main calls child.Main first
	User *server.User
	// Lacks is shown in the status with what the machine cannot do.
	Lacks []string
	// Policy reads the policy: at the start, and again on SIGHUP.
	Policy func() (*policy.Policy, error)
	Log    func(format string, args ...any) // a line for people; may be nil
}

// Run keeps a manager running until it ends by itself, and returns its exit
// code. SIGTERM and SIGINT go to the manager, which drains and ends; SIGHUP
// makes the policy be read again, then goes to the manager. A crash of the
// manager ends the plugins, but not the sockets: the next manager has them. Where
// it cannot serve the files on disk, it goes on with the last generation.
func Run(o Options) (code int, err error) {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer signal.Stop(signals)
	p, err := o.Policy()
	if err != nil {
		return 0, err
	}
	s, err := server.New(server.Options{Policy: p, Self: o.Self, User: o.User, Lacks: o.Lacks})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := spawner.Hide("host-spawner"); err != nil {
		return 0, err
	}
	stopping := false
	var crashes []time.Time
	for starts := 0; ; starts++ {
		_ = os.Setenv(spawner.RestartsMark, fmt.Sprint(starts)) // the manager gets the environment
		status, err := once(s, o, signals, &stopping)
		if err != nil {
			return 0, err
		}
		crashed := status.Signaled() || status.ExitStatus() == crashCode
		code := status.ExitStatus()
		if status.Signaled() {
			code = 128 + int(status.Signal())
		}
		// 75 and 78 say that the files on disk were refused.
		if (code == 75 || code == 78) && len(crashes) > 0 && o.Argv[len(o.Argv)-1] != "last" && !stopping {
			o.Log("what is on disk cannot be served; the generation from before the crash is")
			o.Argv = append(o.Argv[:len(o.Argv):len(o.Argv)], "--generation", "last") // after another crash, too
			continue
		}
		if !crashed || stopping {
			return code, nil
		}
		now := time.Now()
		for len(crashes) > 0 && now.Sub(crashes[0]) > crashTime {
			crashes = crashes[1:]
		}
		if crashes = append(crashes, now); len(crashes) > maxCrashes {
			o.Log("the manager crashed %d times within %s (last: %s); giving up", len(crashes), crashTime, how(status))
			return exitSoftware, nil
		}
		pause := minPause << (len(crashes) - 1)
		o.Log("the manager crashed (%s); starting it again in %s, its sockets stay open", how(status), pause)
		if stopped(signals, pause) {
			return code, nil
		}
	}
}

// once runs one manager from its start to its end.
func once(s *server.Spawner, o Options, signals <-chan os.Signal, stopping *bool) (unix.WaitStatus, error) {
	pid, conn, err := s.Manager(o.Argv)
	if err != nil {
		return 0, err
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), conn) }()
	ended := make(chan struct{})
	go func() { defer close(ended); server.Await(pid) }()
	for {
		select {
		case sig := <-signals:
			if sig == unix.SIGHUP {
				if p, err := o.Policy(); err != nil {
					o.Log("the policy stays as it was: %v", err)
				} else {
					s.SetPolicy(p)
				}
			} else {
				*stopping = true
				sig = unix.SIGTERM
			}
			_ = unix.Kill(pid, sig.(unix.Signal)) // not reaped yet: it is the manager's
		case <-ended:
			_ = unix.Kill(-pid, unix.SIGKILL) // whatever else is in its session
			status, _ := server.Reap(pid)
			if err := <-served; err != nil {
				o.Log("the manager's connection broke: %v", err)
			}
			return status, nil
		}
	}
}

// stopped waits for a pause and reports whether it was asked to stop meanwhile.
func stopped(signals <-chan os.Signal, pause time.Duration) bool {
	after := time.After(pause)
	for {
		select {
		case sig := <-signals:
			if sig != unix.SIGHUP {
				return true
			}
		case <-after:
			return false
		}
	}
}

func how(status unix.WaitStatus) string {
	if status.Signaled() {
		return "signal " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

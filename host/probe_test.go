package host_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pluginhost/host/host"
	"github.com/pluginhost/host/sdk"
)

// The test binary is a plugin too: a copy of it called probe-1.2.3, put into a
// plugin directory, is version 1.2.3 of the plugin probe.
func TestMain(m *testing.M) {
	host.Child()
	if os.Getenv("HOST_PLUGIN") != "" {
		switch name, _, _ := strings.Cut(filepath.Base(os.Args[0]), "-"); name {
		case "probedesk":
			serveDesk()
		case "probework":
			serveWork()
		case "proberaw":
			serveRaw()
		default:
			serveProbe()
		}
		return
	}
	if os.Getenv("HOST_TEST_DAEMON") != "" {
		os.Exit(serveDaemon())
	}
	os.Exit(m.Run())
}

// word is what goes in and out of a probe.
type word struct {
	Text  string `json:"text"`
	Count int    `json:"count,omitempty"`
}

// probeConfig makes a probe misbehave where its name says so.
type probeConfig struct {
	Prefix string          `host:"prefix" doc:"Put before each text."`
	Listen net.Listener    `host:"listen" doc:"Answers each connection with the prefix, then closes it."`
	Packet net.PacketConn  `host:"packet" doc:"Answers each datagram with the prefix before it."`
	Verify time.Duration   `host:"verify_takes" doc:"How long Verify takes."`
	Refuse string          `host:"refuse" doc:"Refuse in verify, prepare or run."`
	Peer   sdk.InstanceRef `host:"peer" doc:"An instance that must be there first."`
}

var (
	said  = sdk.Event[word]("said", "A word was said.")
	echo  = sdk.Action[word, word]("echo", "Returns the word with the prefix.")
	fail  = sdk.Action[word, word]("fail", "Fails as often as count says, then echoes.")
	blurt = sdk.Action[word, word]("blurt", "Says its text wherever a plugin can say something, and fails with it in the error.")
	hang  = sdk.Action[word, word]("hang", "Answers when its context ends.")
	crash = sdk.Action[word, word]("crash", "Kills the process as often as count says for all processes, then echoes.")
	eat   = sdk.Action[word, word]("eat", "Takes memory until there is none.")
	slow  = sdk.Action[word, word]("slow", "Echoes after count milliseconds, whatever becomes of its context.")
	offer = sdk.Action[word, word]("offer", "Emits said as often as count says, one after the other, and returns when host has each; the text is how long the longest took.")
	dare  = sdk.Action[word, word]("dare", "Does what its text says until that is refused, and fails with the refusal.")
	say   = sdk.Action[word, word]("say", "Emits said and returns what its promise gives.")
)

func serveProbe() {
	name, version, _ := strings.Cut(filepath.Base(os.Args[0]), "-")
	sdk.Serve(sdk.Plugin[probeConfig]{
		Name: name, Version: version, Doc: "A plugin for tests.",
		Events: sdk.Events{said}, Actions: sdk.Actions{echo, fail, blurt, hang, crash, eat, say, slow, offer, dare},
		Verify: func(ctx context.Context, c probeConfig, progress func(string, int)) error {
			for start := time.Now(); time.Since(start) < c.Verify; {
				progress("still looking", int(100*time.Since(start)/c.Verify))
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			if c.Refuse == "aloud" {
				progress("looking with "+c.Prefix, 50)
				return sdk.Errorf(sdk.Internal, "no use for %s", c.Prefix)
			}
			if c.Refuse == "verify" {
				return &sdk.AttrError{Attribute: "refuse", Err: errors.New("told to")}
			}
			return nil
		},
		New: newProbe,
	})
}

func newProbe(_ context.Context, c probeConfig, env *sdk.Env) (*sdk.Instance, error) {
	if c.Refuse == "prepare" {
		return nil, errors.New("told to refuse in prepare")
	}
	var fails atomic.Int64
	answer := func(w word) (word, error) { return word{Text: c.Prefix + w.Text}, nil }
	in := &sdk.Instance{Handlers: sdk.Handlers{
		echo.Handle(func(_ context.Context, w word) (word, error) { return answer(w) }),
		dare.Handle(func(_ context.Context, w word) (word, error) { return w, refusal(w.Text) }),
		fail.Handle(func(_ context.Context, w word) (word, error) {
			if fails.Add(1) <= int64(w.Count) {
				return w, sdk.Errorf(sdk.Unavailable, "failing for the %d. time", fails.Load())
			}
			return answer(w)
		}),
		blurt.Handle(func(_ context.Context, w word) (word, error) {
			env.Log.Warn("logged "+w.Text, "field", w.Text, "error", errors.New(w.Text))
			_, _ = fmt.Fprintln(os.Stderr, "on stderr", w.Text)
			_, _ = fmt.Fprintln(os.Stdout, "on stdout", w.Text)
			_, _ = fmt.Fprintln(os.NewFile(2, "stderr"), "on descriptor 2", w.Text) // not closed: it is kept
			_, _ = fmt.Fprintln(env.Stdout, "printed", w.Text)
			return w, sdk.Errorf(sdk.Internal, "no use for %s", w.Text)
		}),
		hang.Handle(func(ctx context.Context, w word) (word, error) { <-ctx.Done(); return w, ctx.Err() }),
		crash.Handle(func(_ context.Context, w word) (word, error) {
			// Lives are counted in the state directory: memory dies with the process.
			if err := os.MkdirAll(env.StateDir, 0o700); err != nil {
				return w, err
			}
			lives, _ := filepath.Glob(filepath.Join(env.StateDir, "life-*"))
			if len(lives) < w.Count {
				_ = os.WriteFile(filepath.Join(env.StateDir, fmt.Sprint("life-", len(lives))), nil, 0o600)
				_, _ = io.WriteString(os.NewFile(2, "stderr"), "the last words of the probe\n")
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			return answer(w)
		}),
		eat.Handle(func(_ context.Context, w word) (word, error) {
			for all := [][]byte{}; ; all = append(all, bytes.Repeat([]byte{1}, 1<<20)) {
			}
		}),
		slow.Handle(func(_ context.Context, w word) (word, error) {
			time.Sleep(time.Duration(w.Count) * time.Millisecond)
			return answer(w)
		}),
		offer.Handle(func(ctx context.Context, w word) (word, error) {
			most := time.Duration(0)
			for n := range w.Count {
				start := time.Now()
				if err := said.Emit(ctx, env, word{Count: n}).Accepted(ctx); err != nil {
					return w, err
				}
				most = max(most, time.Since(start))
			}
			return word{Text: most.String(), Count: w.Count}, nil
		}),
		say.Handle(func(ctx context.Context, w word) (out word, err error) {
			v, err := said.Emit(ctx, env, w).Wait(ctx)
			if err == nil && len(v) > 0 {
				err = v.Into(&out)
			}
			return out, err
		}),
	}}
	if c.Listen != nil {
		in.Run = func(ctx context.Context) error {
			stop := context.AfterFunc(ctx, func() { _ = c.Listen.Close() })
			defer stop()
			for {
				conn, err := c.Listen.Accept()
				if err != nil {
					if ctx.Err() != nil {
						return nil
					}
					return err
				}
				_, _ = io.WriteString(conn, c.Prefix)
				_ = conn.Close()
			}
		}
	}
	if c.Packet != nil {
		in.Run = func(ctx context.Context) error {
			stop := context.AfterFunc(ctx, func() { _ = c.Packet.Close() })
			defer stop()
			b := make([]byte, 1024)
			for {
				n, from, err := c.Packet.ReadFrom(b)
				if err != nil {
					if ctx.Err() != nil {
						return nil
					}
					return err
				}
				_, _ = c.Packet.WriteTo(append([]byte(c.Prefix), b[:n]...), from)
			}
		}
	}
	if c.Refuse == "run" {
		in.Run = func(context.Context) error { return errors.New("told to fail in run") }
	}
	return in, nil
}

// refusal does something until it is refused.
func refusal(what string) (err error) {
	how, target, _ := strings.Cut(what, " ")
	for err == nil {
		switch how {
		case "open":
			_, err = syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		case "read":
			_, err = os.ReadFile(target)
		case "dial":
			_, err = net.Dial("tcp", target)
		default:
			err = errors.New("there is no " + how)
		}
	}
	return err
}

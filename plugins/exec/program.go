package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/sdk"
)

// maxStderr is how much of the end of standard error is kept, in bytes.
const maxStderr = 4 << 10

// program is a command that can be run.
type program struct {
	config Config
	path   string
	dir    string
}

// newProgram resolves the paths of a configuration.
func newProgram(c Config, configDir string) (*program, error) {
	if errs := check(c); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	p := &program{config: c, path: c.Command[0], dir: c.Dir}
	if !filepath.IsAbs(p.path) {
		p.path = filepath.Join(configDir, p.path)
	}
	if !filepath.IsAbs(p.dir) {
		p.dir = filepath.Join(configDir, p.dir)
	}
	if err := executable(p.path); err != nil {
		return nil, &sdk.AttrError{Attribute: "command", Err: err}
	}
	if st, err := os.Stat(p.dir); err != nil || !st.IsDir() {
		return nil, &sdk.AttrError{Attribute: "dir", Err: fmt.Errorf("%s is not a directory", p.dir)}
	}
	return p, nil
}

// run runs the program once.
func (p *program) run(ctx context.Context, in Input, log hclog.Logger) (json.RawMessage, error) {
	c := p.config
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	stdout := &limited{limit: int(c.OutputLimit), over: cancel}
	stderr := &tail{}
	cmd := exec.CommandContext(ctx, p.path, slices.Concat(c.Command[1:], in.Args)...)
	cmd.Args[0] = c.Command[0]
	cmd.Dir = p.dir
	cmd.Env = p.environment(ctx)
	cmd.Stdin = bytes.NewReader(stdin(in.Stdin))
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// The whole group is ended, and its pipes are not waited for: a child that
	// went its own way may hold them for ever.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = c.KillAfter + time.Second
	var killing sync.WaitGroup
	ended := make(chan struct{})
	cmd.Cancel = func() error {
		group := -cmd.Process.Pid
		killing.Go(func() {
			select {
			case <-ended:
			case <-time.After(c.KillAfter):
				_ = syscall.Kill(group, syscall.SIGKILL)
			}
		})
		return syscall.Kill(group, syscall.SIGTERM)
	}
	err := cmd.Start()
	if err == nil {
		endGroup(cmd.Process.Pid)
		err = cmd.Wait()
	}
	close(ended)
	killing.Wait()
	for _, line := range stderr.lines() {
		log.Debug(line, "program", c.Command[0])
	}
	return p.result(ctx, cmd, err, stdout, stderr)
}

// endGroup waits until the program has ended and ends what it left behind in its
// group, which would hold its pipes. The program is not reaped before: its
// number, and with it the group's, belongs to nobody else yet.
func endGroup(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}

// unstarted is why a program could not be started: for now, or for good.
func unstarted(err error) (code sdk.Code, retryable bool) {
	switch {
	case errors.Is(err, syscall.E2BIG), errors.Is(err, syscall.EINVAL): // the arguments of this event
		return sdk.InvalidArgument, false
	case errors.Is(err, syscall.ENOEXEC), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return sdk.FailedPrecondition, false
	}
	return sdk.Unavailable, true // it is being replaced, or the machine is short of something
}

// result makes the outcome of what happened.
func (p *program) result(ctx context.Context, cmd *exec.Cmd, err error, stdout *limited, stderr *tail) (json.RawMessage, error) {
	c := p.config
	details := map[string]any{"stderr": stderr.String()}
	fail := func(code sdk.Code, retryable bool, format string, args ...any) (json.RawMessage, error) {
		e := sdk.Errorf(code, format, args...)
		e.Retryable = retryable
		e.Details, _ = json.Marshal(details) // strings and numbers cannot fail
		return nil, e
	}
	var exit *exec.ExitError
	switch {
	case stdout.isOver():
		return fail(sdk.ResourceExhausted, false, "%s printed more than output_limit (%d bytes)", c.Command[0], c.OutputLimit)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fail(sdk.DeadlineExceeded, false, "%s was ended after its time%s", c.Command[0], lastLine(stderr))
	case ctx.Err() != nil:
		return fail(sdk.Canceled, false, "%s was ended because its result is not wanted any more", c.Command[0])
	case err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState == nil:
		code, retryable := unstarted(err)
		return fail(code, retryable, "%s cannot be started: %v", c.Command[0], err)
	}
	code := cmd.ProcessState.ExitCode()
	details["exit_code"] = code
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		details["signal"] = ws.Signal().String()
		return fail(sdk.Unknown, false, "%s was ended by signal %s%s", c.Command[0], ws.Signal(), lastLine(stderr))
	}
	switch {
	case slices.Contains(c.Success, code):
	case slices.Contains(c.Invalid, code):
		return fail(sdk.InvalidArgument, false, "%s says that the input is invalid (exit code %d)%s", c.Command[0], code, lastLine(stderr))
	case slices.Contains(c.Retry, code):
		return fail(sdk.Unavailable, true, "%s failed for now (exit code %d)%s", c.Command[0], code, lastLine(stderr))
	default:
		return fail(sdk.Unknown, false, "%s failed (exit code %d)%s", c.Command[0], code, lastLine(stderr))
	}
	out := bytes.TrimSpace(stdout.Bytes())
	switch {
	case c.Parse != "text" && utf8.Valid(out) && json.Valid(out): // json.Valid takes any bytes in a string
		return out, nil
	case c.Parse == "json":
		return fail(sdk.Internal, false, "%s printed something that is not JSON", c.Command[0])
	case len(out) == 0:
		return nil, nil
	}
	return json.Marshal(strings.ToValidUTF8(string(out), "\uFFFD"))
}

// environment is all that the program gets.
func (p *program) environment(ctx context.Context) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	if e, ok := sdk.FromContext(ctx); ok {
		env = append(env, "EVENT_ID="+e.ID.String(), "EVENT_TYPE="+e.Type, "EVENT_SUBJECT="+strings.ReplaceAll(e.Subject, "\x00", ""))
		if e.Traceparent != "" {
			env = append(env, "TRACEPARENT="+strings.ReplaceAll(e.Traceparent, "\x00", ""))
		}
	}
	for k, v := range p.config.Env {
		env = append(env, k+"="+v)
	}
	return env
}

// stdin is a string's text, or the JSON of anything else; nothing for null.
func stdin(raw json.RawMessage) []byte {
	if string(raw) == "null" {
		return nil
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return []byte(s)
	}
	return raw
}

func lastLine(t *tail) string {
	if lines := t.lines(); len(lines) > 0 {
		return ": " + lines[len(lines)-1]
	}
	return ""
}

// limited keeps output up to a limit, then ends the program.
type limited struct {
	limit int
	over  func()

	mu   sync.Mutex
	buf  bytes.Buffer
	full bool
}

// Write implements io.Writer.
func (l *limited) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len()+len(b) > l.limit {
		l.full = true
		l.over()
		return 0, io.ErrShortWrite
	}
	return l.buf.Write(b)
}

// Bytes returns what was written.
func (l *limited) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Bytes()
}

func (l *limited) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full
}

// tail keeps the end of what is written.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if n := len(t.buf) - maxStderr; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(b), nil
}

// String returns the end as text.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.buf), "\uFFFD")
}

func (t *tail) lines() []string {
	var lines []string
	for l := range strings.Lines(t.String()) {
		if l = strings.TrimSpace(l); l != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

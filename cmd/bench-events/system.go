package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// patience bounds all that is not measured: a start, an answer, an end.
const patience = 30 * time.Second

// system is one of those compared, running.
type system struct {
	name string
	cmd  *exec.Cmd // its host process
	in   io.WriteCloser
	out  *bufio.Reader
	run  func(ctx context.Context, o order) (outcome, error)
	dir  string // to remove
}

// startRole starts a system from this executable. Orders go to its standard
// input, one JSON document a line, outcomes come from its standard output.
func (s *system) startRole(ctx context.Context, role string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.cmd = exec.CommandContext(ctx, self, role)
	s.cmd.Stderr = os.Stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	s.out = bufio.NewReader(out)
	s.run = func(_ context.Context, o order) (outcome, error) {
		var r outcome
		if err := json.NewEncoder(s.in).Encode(o); err != nil {
			return r, err
		}
		line, err := s.out.ReadBytes('\n')
		if err != nil {
			return r, fmt.Errorf("it ended: %w", err)
		}
		return r, json.Unmarshal(line, &r)
	}
	return s.cmd.Start()
}

// instances are each in a process of its own, as those of the other systems.
const instances = `
plugin "bench" "source" {
  process { isolation = "instance" }
}
plugin "bench" "sink" {
  process { isolation = "instance" }
}
route "start" {
  from = bench.source.started
  to   = bench.source.run
  delivery {
    timeout  = "10m"
    attempts = 1
  }
}
`

// config is what most is measured with.
const config = instances + events + `route "judged" {
  from = bench.source.judged
  to   = bench.sink.take
  when = event.data.region == "eu" && event.data.total > 100
}
`

// events is the route of what is passed on as it is.
const events = `route "events" {
  from = bench.source.sent
  to   = bench.sink.take
}
`

// wideConfig has a route for each of 1,000 types: four instances that share the
// source's process emit 250 each.
func wideConfig() string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(instances, `"source" {
  process { isolation = "instance" }`, `"source" {`))
	for i := range wide {
		name := "source"
		if i > 0 {
			name += strconv.Itoa(i)
			fmt.Fprintf(&b, "plugin \"bench\" \"%s\" {}\n", name)
		}
		for n := range many {
			fmt.Fprintf(&b, "route \"many_%d_%03d\" {\n  from = bench.%s.sent_%03d\n  to   = bench.sink.take\n}\n", i, n, name, n)
		}
	}
	return b.String()
}

// startDaemon starts the daemon, with this executable as its only plugin.
func (s *system) startDaemon(ctx context.Context, host, config string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "bench-events"); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(s.dir, "plugins"), 0o755); err != nil {
		return err
	}
	binary, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "plugins", "bench"), binary, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "host.hcl"), []byte(config), 0o644); err != nil {
		return err
	}
	s.cmd = exec.CommandContext(ctx, host, "run", "-c", s.dir)
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(os.Interrupt) }
	s.cmd.WaitDelay = patience
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var status struct{ Generation int }                                                      // 0 while it does not serve yet
		out, err := exec.CommandContext(ctx, host, "status", "-c", s.dir, "-o", "json").Output() //nolint:gosec // the command of the daemon that is measured
		if err == nil && json.Unmarshal(out, &status) == nil && status.Generation > 0 {
			break
		}
		if time.Now().After(end) || ctx.Err() != nil {
			b, _ := os.ReadFile(log.Name()) // without it the error says less
			return fmt.Errorf("it does not serve: %s", b)
		}
	}
	s.run = func(ctx context.Context, o order) (outcome, error) {
		data, err := json.Marshal(o)
		if err != nil {
			return outcome{}, err
		}
		var out, problems bytes.Buffer
		emit := exec.CommandContext(ctx, host, "emit", "bench.source.started", "-c", s.dir, "-o", "json", "-d", string(data), "--timeout", "10m") //nolint:gosec // likewise
		emit.Stdout, emit.Stderr = &out, &problems
		if err := emit.Run(); err != nil {
			return outcome{}, fmt.Errorf("%w: %s%s", err, out.String(), problems.String())
		}
		var r struct{ Value outcome }
		return r.Value, json.Unmarshal(out.Bytes(), &r)
	}
	return nil
}

// measure runs an order and says how much processor time the system's
// processes took for it.
func (s *system) measure(ctx context.Context, o order) (outcome, time.Duration, error) {
	before, err := cpu(s.cmd.Process.Pid)
	if err != nil {
		return outcome{}, 0, err
	}
	limit := o.For + patience
	if o.Events > 0 {
		limit = 10 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := s.run(ctx, o)
	if err == nil && r.Events == 0 {
		err = errors.New("no event came through")
	}
	if err != nil {
		return outcome{}, 0, err
	}
	after, err := cpu(s.cmd.Process.Pid)
	return r, after - before, err
}

func (s *system) stop() {
	if s.cmd != nil && s.cmd.Process != nil {
		if s.in != nil {
			_ = s.in.Close() // the end of its orders
		} else {
			_ = s.cmd.Process.Signal(os.Interrupt)
		}
		kill := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
		_ = s.cmd.Wait() // how it ended is of no interest
		kill.Stop()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// cpu is the processor time that a process and its descendants have taken.
func cpu(root int) (time.Duration, error) {
	var sum int64
	err := family(root, func(stat []string) {
		user, _ := strconv.ParseInt(stat[11], 10, 64)
		system, _ := strconv.ParseInt(stat[12], 10, 64)
		sum += user + system
	})
	return time.Duration(sum) * (time.Second / 100), err // USER_HZ is 100 on Linux
}

// memory is what the system's processes have resident, in MB.
func (s *system) memory() (float64, error) {
	var pages int64
	err := family(s.cmd.Process.Pid, func(stat []string) {
		n, _ := strconv.ParseInt(stat[21], 10, 64)
		pages += n
	})
	return float64(pages) * float64(os.Getpagesize()) / 1e6, err
}

// family calls f for a process and each of its descendants, with the fields of
// /proc/PID/stat that follow the name.
func family(root int, f func(stat []string)) error {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return err
	}
	all := map[int][]string{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		all[pid] = strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	}
	if all[root] == nil {
		return fmt.Errorf("process %d has ended", root)
	}
	for pid, stat := range all {
		for at := pid; at > 1 && all[at] != nil; at, _ = strconv.Atoi(all[at][1]) {
			if at == root {
				f(stat)
				break
			}
		}
	}
	return nil
}

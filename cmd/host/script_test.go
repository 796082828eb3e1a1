package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// plugin NAME-VERSION [MARK] puts a plugin into ./plugins, as mv does. Another
// mark makes another file of it.
func scriptPlugin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: plugin NAME-VERSION [MARK]")
	}
	from, err := os.Executable()
	ts.Check(err)
	b, err := os.ReadFile(from)
	ts.Check(err)
	dir := ts.MkAbs("plugins")
	ts.Check(os.MkdirAll(dir, 0o755))
	part := filepath.Join(dir, ".part")
	ts.Check(os.WriteFile(part, append(b, strings.Join(args, " ")...), 0o755))
	ts.Check(os.Rename(part, filepath.Join(dir, args[0])))
}

// exits CODE COMMAND ARGS… runs a command and wants its exit code.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	var e *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &e) {
		code = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), code, want)
	}
}

// until [REGEX] -- COMMAND ARGS… repeats a command until it succeeds and its
// standard output matches; with ! until it does not match. It gives up after a
// minute, which only happens when something is broken.
func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	want := regexp.MustCompile("")
	if len(args) > 0 && args[0] != "--" {
		want, args = regexp.MustCompile(args[0]), args[1:]
	}
	if len(args) < 2 || args[0] != "--" {
		ts.Fatalf("usage: [!] until [REGEX] -- COMMAND ARGS…")
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := ts.Exec(args[1], args[2:]...); err == nil && want.MatchString(ts.ReadFile("stdout")) != neg {
			return
		}
	}
	ts.Fatalf("%s: never, within a minute", strings.Join(args[1:], " "))
}

// field FILE PATH VALUE wants a value in a JSON document: field stdout
// instances.0.light green.
func scriptField(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: [!] field FILE PATH VALUE")
	}
	if got := lookUp(ts, args[0], args[1]); (fmt.Sprint(got) == args[2]) == neg {
		ts.Fatalf("%s is %v", args[1], got)
	}
}

// keys FILE PATH KEY… wants an object to have these keys.
func scriptKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: keys FILE PATH KEY…")
	}
	object, ok := lookUp(ts, args[0], args[1]).(map[string]any)
	if !ok {
		ts.Fatalf("%s is no object", args[1])
	}
	for _, k := range args[2:] {
		if _, ok := object[k]; !ok {
			ts.Fatalf("%s has no %s: %v", args[1], k, object)
		}
	}
}

// save NAME FILE PATH puts a value of a JSON document into the environment.
func scriptSave(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: save NAME FILE PATH")
	}
	ts.Setenv(args[0], fmt.Sprint(lookUp(ts, args[1], args[2])))
}

func lookUp(ts *testscript.TestScript, file, path string) any {
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(file)))
	d.UseNumber()
	var v any
	ts.Check(d.Decode(&v))
	if d.More() {
		ts.Fatalf("%s holds more than one JSON document", file)
	}
	for _, part := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			n, err := strconv.Atoi(part)
			if err != nil || n >= len(x) {
				return nil
			}
			v = x[n]
		default:
			if part != "" {
				return nil
			}
		}
	}
	return v
}

// signal NAME sends a signal to the daemon of this directory.
func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	if neg || len(args) != 1 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal HUP|INT|TERM|KILL")
	}
	ts.Check(ts.Exec("host", "status", "-o", "json"))
	pid, err := strconv.Atoi(fmt.Sprint(lookUp(ts, "stdout", "pid")))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, signals[args[0]]))
}

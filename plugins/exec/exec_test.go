package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/sdk"
	"github.com/pluginhost/host/sdk/sdktest"
)

// script writes a program and returns its path.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// sh is the configuration of a program in sh.
func sh(text string, more ...sdktest.Config) sdktest.Config {
	c := sdktest.Config{"command": []string{"/bin/sh", "-c", text, "sh"}}
	for _, m := range more {
		for k, v := range m {
			c[k] = v
		}
	}
	return c
}

func runs(t *testing.T, c sdktest.Config, in any, with ...sdktest.With) (sdk.Value, *sdk.Error) {
	t.Helper()
	return sdktest.Start(t, plugin(), c).Call("run", in, with...)
}

type m = map[string]any

func TestOutput(t *testing.T) {
	for _, c := range []struct {
		name   string
		config sdktest.Config
		input  any
		want   string
	}{
		{"JSON", sh(`echo '{"a": 1}'`), nil, `{"a": 1}`},
		{"text", sh(`echo hello; echo you`), nil, `"hello\nyou"`},
		{"nothing", sh(`:`), nil, ``},
		{"JSON as text", sh(`echo 12`, sdktest.Config{"parse": "text"}), nil, `"12"`},
		{"bytes that are no text", sh(`printf 'a\377b'`), nil, `"a` + "\uFFFD" + `b"`},
		{"nearly JSON", sh(`printf '"a\377b"'`), nil, `"\"a` + "\uFFFD" + `b\""`},
		{"object to stdin", sh(`cat`), m{"stdin": m{"x": []int{1}}}, `{"x":[1]}`},
		{"string to stdin", sh(`cat`), m{"stdin": "plain $(text)"}, `"plain $(text)"`},
		{"null to stdin", sh(`cat`), json.RawMessage(`{"stdin":null}`), ``},
		{"no stdin", sh(`cat; echo end`), m{}, `"end"`},
		{"arguments are not read by a shell", sdktest.Config{"command": []string{"/usr/bin/printf", "%s|", "$HOME", "a b"}}, m{"args": []string{"; rm -rf x", "`id`", "*"}}, "\"$HOME|a b|; rm -rf x|`id`|*|\""},
		{"success codes", sh(`echo 3; exit 3`, sdktest.Config{"success_codes": []int{0, 3}}), nil, `3`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if v, err := runs(t, c.config, c.input); err != nil || string(v) != c.want {
				t.Errorf("%s, %v", v, err)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name      string
		config    sdktest.Config
		code      sdk.Code
		retryable bool
		message   string // ends with
		details   string // contains
	}{
		{"exit code", sh(`echo first >&2; echo no money >&2; exit 3`), sdk.Unknown, false, "failed (exit code 3): no money", `"exit_code":3,"stderr":"first\nno money\n"`},
		{"invalid input", sh(`echo what >&2; exit 65`), sdk.InvalidArgument, false, "(exit code 65): what", `"exit_code":65`},
		{"later", sh(`exit 75`), sdk.Unavailable, true, "failed for now (exit code 75)", `"exit_code":75`},
		{"signal", sh(`kill -KILL $$`), sdk.Unknown, false, "was ended by signal killed", `"signal":"killed"`},
		{"too much output", sh(`yes`, sdktest.Config{"output_limit": "64KiB"}), sdk.ResourceExhausted, false, "output_limit (65536 bytes)", ``},
		{"no JSON", sh(`echo hello`, sdktest.Config{"parse": "json"}), sdk.Internal, false, "is not JSON", ``},
		{"nothing is no JSON", sh(`:`, sdktest.Config{"parse": "json"}), sdk.Internal, false, "is not JSON", ``},
		{"stderr is the end of it", sh(`yes line | head -c 100000 >&2; echo last >&2; exit 1`), sdk.Unknown, false, ": last", ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := runs(t, c.config, nil)
			if err == nil || err.Code != c.code || err.Retryable != c.retryable || !strings.HasSuffix(err.Message, c.message) || !strings.Contains(string(err.Details), c.details) {
				t.Fatalf("%+v %s", err, err.Details)
			}
			if len(err.Details) > 2*maxStderr {
				t.Errorf("%d bytes of details", len(err.Details))
			}
		})
	}
}

// givenToUs are the descriptors that whoever started this test left open.
var givenToUs = func() (fds []string) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
				fds = append(fds, e.Name())
			}
		}
	}
	return fds
}()

// The program has its own variables, three descriptors and nothing of ours.
func TestNothingIsInherited(t *testing.T) {
	t.Setenv("SECRET_OF_THE_DAEMON", "x")
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := t.TempDir()
	v, failed := runs(t, sdktest.Config{"command": []string{"/usr/bin/env"}, "dir": dir, "env": m{"A": "1", "PATH": "/x"}}, nil,
		func(e *sdk.EventInfo) { e.Subject, e.Traceparent = "o-1", "00-trace" })
	var text string
	if failed != nil || json.Unmarshal(v, &text) != nil {
		t.Fatalf("%s, %v", v, failed)
	}
	var names []string
	for l := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(l), "=")
		names = append(names, name)
		if want := map[string]string{"A": "1", "PATH": "/x", "EVENT_SUBJECT": "o-1", "EVENT_TYPE": "test.sender.sent", "TRACEPARENT": "00-trace", "PWD": dir}[name]; want != "" && value != want {
			t.Errorf("%s", l)
		}
	}
	slices.Sort(names)
	names = slices.DeleteFunc(names, func(n string) bool { return n == "PWD" }) // where it is
	if got := strings.Join(names, " "); got != "A EVENT_ID EVENT_SUBJECT EVENT_TYPE PATH TRACEPARENT" {
		t.Errorf("the environment is %s", got)
	}
	// ls has one more open, the directory that it reads.
	v, failed = runs(t, sdktest.Config{"command": []string{"/bin/ls", "/proc/self/fd"}, "parse": "text"}, nil)
	if failed != nil || json.Unmarshal(v, &text) != nil {
		t.Fatalf("%s, %v", v, failed)
	}
	fds := slices.DeleteFunc(strings.Fields(text), func(fd string) bool {
		return !slices.Contains([]string{"0", "1", "2"}, fd) && slices.Contains(givenToUs, fd)
	})
	if len(fds) != 4 {
		t.Errorf("descriptors: %v", fds)
	}
}

// pids reads the numbers that a program wrote.
func pids(t *testing.T, path string, n int) []int {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(10 * time.Millisecond) {
		b, _ := os.ReadFile(path)
		if f := strings.Fields(string(b)); len(f) >= n {
			var out []int
			for _, s := range f {
				pid, err := strconv.Atoi(s)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, pid)
			}
			return out
		}
	}
	t.Fatalf("the program did not write %d numbers", n)
	return nil
}

// gone waits until processes have ended. What init has not reaped is a zombie.
func gone(t *testing.T, all []int) {
	t.Helper()
	for _, pid := range all {
		for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil || strings.Contains(string(b), ") Z ") {
				break
			}
			if time.Since(begin) > time.Minute {
				syscall.Kill(pid, syscall.SIGKILL)
				t.Fatalf("process %d is left: %s", pid, b)
			}
		}
	}
}

const family = `
echo $$ >> "$F"
sh -c 'echo $$ >> "$F"; sh -c "echo \$\$ >> \"$F\"; exec sleep 1000" & wait' &
`

func TestTimeoutEndsTheWholeGroup(t *testing.T) {
	for name, deaf := range map[string]string{"heeds SIGTERM": "", "ignores SIGTERM": `trap "" TERM;`} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pids")
			in := sdktest.Start(t, plugin(), sh(deaf+family+"wait", sdktest.Config{"timeout": "10m", "kill_after": "200ms", "env": m{"F": file}}))
			d := in.Deliver("run", nil, func(e *sdk.EventInfo) { e.Deadline = time.Now().Add(2 * time.Second).UnixNano() })
			all := pids(t, file, 3)
			if _, err := d.Wait(); err == nil || err.Code != sdk.DeadlineExceeded {
				t.Errorf("%v", err)
			}
			gone(t, all)
		})
	}
}

func TestCancel(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	in := sdktest.Start(t, plugin(), sh(family+"wait", sdktest.Config{"env": m{"F": file}, "timeout": "10m"}))
	d := in.Deliver("run", nil)
	all := pids(t, file, 3)
	d.Cancel()
	if _, err := d.Wait(); err == nil || err.Code != sdk.Canceled || err.Retryable {
		t.Errorf("%v", err)
	}
	gone(t, all)
}

// A program that ends is done, although a child of it holds its output open.
func TestChildrenLeftBehind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	begin := time.Now()
	v, err := runs(t, sh(family+`while [ $(wc -l < "$F") -lt 3 ]; do sleep 0.01; done; echo done`, sdktest.Config{"env": m{"F": file}, "kill_after": "10m"}), nil)
	if err != nil || string(v) != `"done"` {
		t.Errorf("%s, %v", v, err)
	}
	if time.Since(begin) > 5*time.Minute {
		t.Error("the children were waited for")
	}
	gone(t, pids(t, file, 3))
}

func TestStdinThatNobodyReads(t *testing.T) {
	big := m{"stdin": strings.Repeat("x", 3<<20)}
	if v, err := runs(t, sh(`echo ok`), big); err != nil || string(v) != `"ok"` {
		t.Errorf("%s, %v", v, err)
	}
	if _, err := runs(t, sh(`exec 0<&-; exec 1>&-; sleep 0.1; exit 4`), big); err == nil || err.Code != sdk.Unknown {
		t.Errorf("streams closed early: %v", err)
	}
	if _, err := runs(t, sh(`exec sleep 1000`, sdktest.Config{"timeout": "300ms"}), big); err == nil || err.Code != sdk.DeadlineExceeded {
		t.Errorf("it sleeps: %v", err)
	}
	if v, err := runs(t, sh(`cat`, sdktest.Config{"output_limit": "3MiB", "parse": "text"}), big); err != nil || len(v) != 3<<20+2 {
		t.Errorf("3 MiB through: %d bytes, %v", len(v), err)
	}
}

// What is wrong with the file when the event comes.
func TestProgramThatCannotStart(t *testing.T) {
	for _, c := range []struct {
		name      string
		harm      func(path string) error
		code      sdk.Code
		retryable bool
	}{
		{"gone", os.Remove, sdk.Unavailable, true},
		{"not executable", func(p string) error { return os.Chmod(p, 0o600) }, sdk.FailedPrecondition, false},
		{"no format", func(p string) error { return os.WriteFile(p, []byte("no shebang\n"), 0o755) }, sdk.FailedPrecondition, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := script(t, "#!/bin/sh\necho ok\n")
			in := sdktest.Start(t, plugin(), sdktest.Config{"command": []string{path}})
			if v, err := in.Call("run", nil); err != nil || string(v) != `"ok"` {
				t.Fatalf("%s, %v", v, err)
			}
			if err := c.harm(path); err != nil {
				t.Fatal(err)
			}
			_, err := in.Call("run", nil)
			if err == nil || err.Code != c.code || err.Retryable != c.retryable || !strings.Contains(err.Message, path+" cannot be started") {
				t.Errorf("%+v", err)
			}
		})
	}
	for name, args := range map[string][]string{"a zero byte": {"a\x00b"}, "too long": {strings.Repeat("x", 1<<20)}} {
		if _, err := runs(t, sh(`:`), m{"args": args}); err == nil || err.Code != sdk.InvalidArgument {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

func TestConcurrency(t *testing.T) {
	dir := t.TempDir()
	in := sdktest.Start(t, plugin(), sh(`touch "$D/$$"; ls "$D" | wc -l; sleep 0.2; rm "$D/$$"`, sdktest.Config{"env": m{"D": dir}, "concurrency": 2}))
	var all []*sdktest.Delivery
	for range 6 {
		all = append(all, in.Deliver("run", nil))
	}
	for _, d := range all {
		if v, err := d.Wait(); err != nil || string(v) != "1" && string(v) != "2" {
			t.Errorf("%s at once, %v", v, err)
		}
	}
}

func TestRelativeToTheConfiguration(t *testing.T) {
	dir := filepath.Dir(script(t, "#!/bin/sh\npwd; echo $0\n"))
	in := sdktest.Start(t, plugin(), sdktest.Config{"command": []string{"./program"}}, sdktest.Dir(dir))
	if v, err := in.Call("run", nil); err != nil || !strings.HasPrefix(string(v), fmt.Sprintf(`"%s\n`, dir)) {
		t.Errorf("%s, %v", v, err)
	}
}

func TestCheck(t *testing.T) {
	p := sdktest.New(t, plugin())
	plain := script(t, "text")
	os.Chmod(plain, 0o644)
	for _, c := range []struct {
		config    sdktest.Config
		attribute string
		says      string
	}{
		{sdktest.Config{}, "command", "required"},
		{sdktest.Config{"command": []string{}}, "command", "at least the program"},
		{sdktest.Config{"command": []string{"sh", "-c"}}, "command", "did you mean /"},
		{sdktest.Config{"command": []string{"nonesuch"}}, "command", "./nonesuch"},
		{sdktest.Config{"command": []string{"/bin/sh\x00"}}, "command", "zero byte"},
		{sdktest.Config{"command": []string{plain}}, "command", "chmod +x"},
		{sdktest.Config{"command": []string{"/none/such"}}, "command", "no such file"},
		{sh(":", sdktest.Config{"dir": "/none/such"}), "dir", "not a directory"},
		{sh(":", sdktest.Config{"concurrency": 0}), "concurrency", "1 to 1000"},
		{sh(":", sdktest.Config{"output_limit": "1GiB"}), "output_limit", "3 MiB"},
		{sh(":", sdktest.Config{"timeout": "-1s"}), "timeout", "more than nothing"},
		{sh(":", sdktest.Config{"kill_after": "-1s"}), "kill_after", "negative"},
		{sh(":", sdktest.Config{"env": m{"A=B": "x"}}), "env", "not the name"},
		{sh(":", sdktest.Config{"env": m{"A": "x\x00"}}), "env", "zero byte"},
	} {
		in, d := p.Prepare(c.config)
		if in != nil || len(d) != 1 || d[0].Attribute != c.attribute || !strings.Contains(d[0].Summary, c.says) {
			t.Errorf("%v: %+v", c.config, d)
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

var (
	kills = flag.Int("kills", 3, "how often the manager is killed")
	rate  = flag.Int("rate", 200, "new connections a second meanwhile")
)

// needRoot ends a test that needs root where it is not: loudly, and as a failure
// under CI=true.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this test needs root")
	}
	t.Skip("*** NOT ROOT: what only root's spawner does is left out")
}

// pair is a real daemon of two processes on a configuration of its own.
type pair struct {
	*site
	cmd *exec.Cmd
	run []string // flags of host run
}

// newPair starts one with plugins of this repository. As root it runs as nobody.
func newPair(t *testing.T, hcl string, sys *syscall.SysProcAttr, flags ...string) *pair {
	t.Helper()
	if os.Geteuid() == 0 {
		flags = append(flags, "--user", "nobody")
	}
	return newPairAs(t, hcl, sys, "", flags...)
}

// newPairAs is newPair with the user that the flags say or that the daemon finds.
// passwd, where it is not empty, is what the machine has for /etc/passwd.
func newPairAs(t *testing.T, hcl string, sys *syscall.SysProcAttr, passwd string, flags ...string) *pair {
	t.Helper()
	dir, err := os.MkdirTemp("", "pair")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // another user runs in it
		t.Fatal(err)
	}
	p := &pair{site: &site{t: t, dir: dir, config: dir, plugins: filepath.Join(dir, "plugins"), out: &shown{}}}
	for _, n := range []string{"http", "log", "file"} {
		copyFile(t, filepath.Join(bin(t), "plugins", n), filepath.Join(p.plugins, n), nil)
	}
	p.write(hcl)
	p.run = append([]string{"run", "-c", dir}, flags...)
	p.cmd = exec.Command(filepath.Join(bin(t), "host"), p.run...)
	if passwd != "" {
		file := filepath.Join(dir, "passwd")
		if err := os.WriteFile(file, []byte(passwd), 0o644); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"-c", `mount --bind "$0" /etc/passwd && exec "$@"`, file, p.cmd.Path}, p.run...)
		p.cmd = exec.Command("/bin/sh", args...)
		sys.Unshareflags |= syscall.CLONE_NEWNS
	}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = dir, p.out, p.out, sys
	p.cmd.Env = append(os.Environ(), "HOST_ADDR=", "NO_COLOR=")
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = p.cmd.Process.Kill()
			<-ended
			t.Error("the daemon did not end")
		}
		if t.Failed() {
			t.Logf("output of the daemon:\n%s", p.out)
		}
	})
	p.until("the daemon serves", func() bool { return strings.Contains(p.out.String(), "ready: control=") })
	return p
}

func (p *pair) write(hcl string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, "main.hcl"), []byte(hcl), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// children returns the processes of the spawner, by their last argument or name.
func (p *pair) children() map[string]int {
	found := map[string]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, _ := os.ReadFile(path)
		_, rest, ok := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		if !ok || len(f) < 2 || f[1] != strconv.Itoa(p.cmd.Process.Pid) || f[0] == "Z" {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		name, _, _ := strings.Cut(string(line), "\x00")
		if name = filepath.Base(name); name == "host" {
			name = "manager"
		}
		found[name] = pid
	}
	return found
}

// facts are some lines of /proc/PID/status, and the descriptors that a program
// started by the process would get.
func facts(t *testing.T, pid int) (status map[string]string, inherited []string) {
	t.Helper()
	status = map[string]string{}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.TrimSpace(value)
	}
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	for _, fd := range fds {
		info, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, fd.Name()))
		for _, line := range strings.Split(string(info), "\n") {
			if octal, ok := strings.CutPrefix(line, "flags:"); ok {
				n, _ := strconv.ParseInt(strings.TrimSpace(octal), 8, 64)
				if n&syscall.O_CLOEXEC == 0 {
					inherited = append(inherited, fd.Name())
				}
			}
		}
	}
	slices.Sort(inherited)
	return status, inherited
}

// environ is the environment that a process began with, in order.
func environ(t *testing.T, pid int) []string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Split(strings.Trim(string(b), "\x00"), "\x00")
	slices.Sort(env)
	return env
}

// descriptors are what a process has open: those that it was given by their
// number, of those above each kind once, in order. What Go's runtime reads of its own control
// group is not among them.
func (p *pair) descriptors(pid, given int) []string {
	p.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		p.t.Fatal(err)
	}
	var all []string
	for _, fd := range fds {
		to, err := os.Readlink(filepath.Join(dir, fd.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		kind := strings.Replace(to, p.dir, "DIR", 1)
		if before, _, ok := strings.Cut(strings.TrimPrefix(to, "anon_inode:"), ":["); ok {
			kind = before
		}
		kind = strings.Trim(strings.TrimPrefix(kind, "anon_inode:"), "[]")
		switch number, _ := strconv.Atoi(fd.Name()); {
		case strings.HasPrefix(to, "/sys/fs/cgroup/") && strings.HasPrefix(filepath.Base(to), "cpu."):
		case number < given:
			all = append(all, fd.Name()+" "+kind)
		default:
			all = append(all, kind)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

const listening = `
plugin "http" "web" {
  listen = "tcp://%s"
}
plugin "log" "out" {}
route "r" {
  from  = http.web.request
  to    = log.out.write
  input = "hello"
}
`

// As root: manager and plugins are somebody else, without any right, with what is
// in these lists and a port of root's; and root can still ask.
func TestManagerAndPluginsHaveNoRights(t *testing.T) {
	needRoot(t)
	t.Run("nobody", func(t *testing.T) { haveNoRights(t, "65534", "", "--user", "nobody") })
	// The user host is found where there is one, whoever owns the configuration.
	t.Run("host", func(t *testing.T) {
		haveNoRights(t, "4321", "root:x:0:0:root:/root:/bin/sh\nhost:x:4321:4321::/nonexistent:/bin/false\n")
	})
}

func haveNoRights(t *testing.T, uid, passwd string, flags ...string) {
	// In a network of its own, where port 80 is free.
	p := newPairAs(t, fmt.Sprintf(listening, "0.0.0.0:80"), &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}, passwd, flags...)
	if s := p.host(exitOK, "status"); !strings.Contains(s, "tcp://0.0.0.0:80") || !strings.HasPrefix(s, "green") {
		t.Errorf("status:\n%s", s)
	}
	found := p.children()
	for name, want := range map[string][]string{
		"manager": {"0 /dev/null", "1 pipe", "2 pipe", "DIR/plugins/file", "DIR/plugins/http", "DIR/plugins/log", "DIR/state/generations/lock",
			"DIR/state/generations/log.jsonl", "DIR/state/run", "eventfd", "eventpoll", "inotify", "pipe", "socket"},
		"http": {"0 /dev/null", "1 pipe", "2 pipe", "3 socket", "4 socket", "eventfd", "eventpoll", "pipe", "socket"},
		"log":  {"0 /dev/null", "1 pipe", "2 pipe", "3 socket", "4 socket", "eventfd", "eventpoll", "pipe", "socket"},
	} {
		pid := found[name]
		if pid == 0 {
			t.Fatalf("there is no %s among %v", name, found)
		}
		status, inherited := facts(t, pid)
		golden := map[string]string{"Uid": strings.Repeat(uid+"\t", 3) + uid, "NoNewPrivs": "1"}
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
			golden[set] = "0000000000000000"
		}
		if name != "manager" {
			golden["Seccomp"] = "2"
		}
		for field, want := range golden {
			if status[field] != want {
				t.Errorf("%s: %s is %q, want %q", name, field, status[field], want)
			}
		}
		if name == "manager" && !slices.Equal(inherited, []string{"0", "1", "2"}) {
			t.Errorf("%s would hand down the descriptors %v", name, inherited)
		}
		given := wire.DescriptorFD + 1
		if name == "manager" {
			given = 3
		}
		if got := p.descriptors(pid, given); !slices.Equal(got, want) {
			t.Errorf("%s has the descriptors\n%q, want\n%q", name, got, want)
		}
		env := environ(t, pid)
		if name == "manager" {
			// That of host run, and what it is.
			want := append(environ(t, p.cmd.Process.Pid), "HOST_MANAGER_RESTARTS=0", "HOST_SPAWNER_FD=3 confined")
			slices.Sort(want)
			if !slices.Equal(env, want) {
				t.Errorf("%s has the environment\n%q, want\n%q", name, env, want)
			}
			continue
		}
		own := ""
		for _, e := range env {
			if dir, ok := strings.CutPrefix(e, "PLUGIN_UNIX_SOCKET_DIR="); ok {
				own = dir
			}
		}
		if want := []string{"HOME=" + own, "HOST_PLUGIN=6f1c2a94-host-plugin", "LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"PLUGIN_MAX_PORT=25000", "PLUGIN_MIN_PORT=10000", "PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR=" + own, "TMPDIR=" + own, "TZ=UTC"}; !slices.Equal(env, want) {
			t.Errorf("%s has the environment\n%q, want\n%q", name, env, want)
		}
		// Its socket is in a directory that only it and the manager enter.
		st, err := os.Stat(own)
		if err != nil || st.Mode().Perm() != 0o710 || fmt.Sprint(st.Sys().(*syscall.Stat_t).Uid) != uid || !strings.HasPrefix(own, "/run/host-") {
			t.Errorf("the directory of %s: %q, %v, %v", name, own, st, err)
		}
	}
	// What no rule names is refused before anything is changed.
	for addr, rule := range map[string][2]string{
		"0.0.0.0:22":                 {"bind tcp4 0.0.0.0:22", "bind tcp *:22"},
		"192.0.2.1:80?transparent=1": {"transparent tcp4 192.0.2.1:80", "transparent tcp 192.0.2.1:80"},
	} {
		p.write(fmt.Sprintf(listening, addr))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, filepath.Join(bin(t), "host"), "plan", "-c", p.config)
		cmd.Env = p.env()
		out, err := cmd.CombinedOutput()
		cancel()
		if err == nil {
			t.Error("the plan was made")
		}
		for _, want := range []string{"main.hcl:3:", "policy does not allow " + rule[0], rule[1]} {
			if !strings.Contains(string(out), want) {
				t.Errorf("host plan does not say %q:\n%s", want, out)
			}
		}
	}
}

// Exit codes of the manager are those of host run, and so are its signals.
func TestExitCodesPassThrough(t *testing.T) {
	p := newPair(t, fmt.Sprintf(listening, freeAddr(t)), nil)
	again := exec.Command(filepath.Join(bin(t), "host"), p.run...) // the state directory is in use
	out, err := again.CombinedOutput()
	if again.ProcessState.ExitCode() != exitFailed {
		t.Errorf("a second daemon: %v\n%s", err, out)
	}
	p.write(`plugin "nothing" "x" {}`)
	invalid := exec.Command(filepath.Join(bin(t), "host"), append(slices.Clone(p.run), "--state-dir", filepath.Join(p.dir, "other"))...)
	out, err = invalid.CombinedOutput()
	if invalid.ProcessState.ExitCode() != exitInvalid || !strings.Contains(string(out), "main.hcl:1") {
		t.Errorf("an invalid configuration: %v\n%s", err, out)
	}
	_ = p.cmd.Process.Signal(syscall.SIGHUP)
	p.until("it says what is wrong with the new configuration", func() bool { return strings.Contains(p.out.String(), "reload ended") })
}

// The manager changes nothing outside its state directory, although its user may.
func TestManagerWritesToItsStateOnly(t *testing.T) {
	p := newPair(t, fmt.Sprintf(listening, freeAddr(t)), nil)
	state, elsewhere := filepath.Join(p.dir, "other"), filepath.Join(p.dir, "elsewhere")
	generations := filepath.Join(state, "generations")
	err := errors.Join(os.Mkdir(state, 0o711), os.Mkdir(elsewhere, 0o777), os.Chmod(elsewhere, 0o777), os.Symlink(elsewhere, generations)) //nolint:gosec // another user works in it
	if err == nil && os.Geteuid() == 0 {
		err = errors.Join(os.Chown(state, 65534, 65534), os.Lchown(generations, 65534, 65534))
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, _ := exec.CommandContext(ctx, filepath.Join(bin(t), "host"), append(slices.Clone(p.run), "--state-dir", state)...).CombinedOutput()
	made, err := os.ReadDir(elsewhere)
	if want := "generations/lock: permission denied"; !strings.Contains(string(out), want) || err != nil || len(made) > 0 {
		t.Errorf("a link out of the state directory was followed: %v, %v\n%s", made, err, out)
	}
}

// When the spawner is killed nothing is left.
func TestSpawnerIsKilled(t *testing.T) {
	p := newPair(t, fmt.Sprintf(listening, freeAddr(t)), nil)
	found := p.children()
	if len(found) < 3 {
		t.Fatalf("only %v", found)
	}
	_ = p.cmd.Process.Kill()
	p.until("everything ends", func() bool {
		for _, pid := range found {
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(b), ") Z ") {
				return false
			}
		}
		return true
	})
}

// The manager is killed again and again while clients connect. Sockets are the
// spawner's: nobody is refused, and no connection that was made is reset.
func TestManagerIsKilled(t *testing.T) {
	// At most five crashes in a minute are mended: a new spawner is sooner there
	// than the next minute.
	const most = 4
	for left := *kills; left > 0; left -= most {
		t.Run(fmt.Sprint(left, " left"), func(t *testing.T) { managerIsKilled(t, min(left, most)) })
	}
}

func managerIsKilled(t *testing.T, kills int) {
	addr := freeAddr(t)
	dir, err := os.MkdirTemp("", "ledger") // the directories of the test are its user's only
	if err == nil {
		err = os.Chmod(dir, 0o777) //nolint:gosec // the plugins may be another user's
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := newPair(t, fmt.Sprintf(noting, addr, dir), nil)
	var mu sync.Mutex
	answers := map[string][]int{} // by what became of a request: their numbers
	stop := make(chan struct{})
	var clients sync.WaitGroup
	began, asked := time.Now(), 0
	clients.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		room := make(chan struct{}, 20_000)
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			// What is due by now, although a tick may have been late.
			for due := int(time.Since(began).Seconds() * float64(*rate)); asked < due; asked++ {
				room <- struct{}{}
				n := asked
				clients.Go(func() {
					defer func() { <-room }()
					answer := note(addr, n)
					mu.Lock()
					defer mu.Unlock()
					answers[answer] = append(answers[answer], n)
				})
			}
		}
	})
	noted := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(answers["200"])
	}
	for n := range kills {
		var pid int
		p.until("a manager serves", func() bool {
			pid = p.children()["manager"]
			return pid > 0 && strings.Count(p.out.String(), "ready: control=") == n+1
		})
		before := noted()
		p.until("it handles events", func() bool { return noted() > before })
		time.Sleep(300 * time.Millisecond) // some load
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	p.until("the last manager serves", func() bool { return strings.Count(p.out.String(), "ready: control=") == kills+1 })
	before := noted()
	p.until("it handles events", func() bool { return noted() > before })
	close(stop)
	clients.Wait()
	t.Logf("%d kills, %d connections at %.0f/s", kills, asked, float64(asked)/time.Since(began).Seconds())

	// The ledger has each request that was told so, and each other client knows
	// that nobody can say.
	lines := map[int]int{}
	b, err := os.ReadFile(filepath.Join(dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("the ledger has a line %q", line)
		}
		lines[n]++
	}
	for answer, requests := range answers {
		found, more := 0, 0
		for _, n := range requests {
			found += min(1, lines[n])
			more += max(0, lines[n]-1)
		}
		t.Logf("%d were answered %s: %d of them are in the ledger, %d more than once", len(requests), answer, found, more)
		switch answer {
		case "200":
			if found < len(requests) {
				t.Errorf("%d requests were answered as noted and are not", len(requests)-found)
			}
		case "503 unavailable":
		default:
			t.Errorf("%d of %d requests: %s", len(requests), asked, answer)
		}
	}
	if n := strings.Count(p.out.String(), "the manager crashed (signal SIGKILL)"); n != kills {
		t.Errorf("the spawner tells of %d crashes, want %d", n, kills)
	}
	// What each manager's clients were told is in its books.
	var status struct{ Events observe.Counts }
	if err := json.Unmarshal([]byte(p.host(exitOK, "status", "-o", "json")), &status); err != nil {
		t.Fatal(err)
	}
	if e := status.Events; e.Accepted == 0 || e.Accepted != e.Resolved+e.Rejected+e.Pending+e.Dead+e.Dropped {
		t.Errorf("the books of the last manager: %+v", e)
	}
}

// noting is a daemon that writes the numbers it is sent into a file, and answers
// when that is done.
const noting = `
plugin "http" "web" {
  listen = "tcp://%s"
}
plugin "file" "ledger" {
  dir    = "%s"
  append = "ledger"
}
route "r" {
  from  = http.web.request
  to    = file.ledger.append
  input = tostring(event.data)
}
`

// note sends a number over a new connection, and says what became of it: the
// status and the code of the answer, or what happened to the connection.
func note(addr string, n int) string {
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Post("http://"+addr+"/", "application/json", strings.NewReader(strconv.Itoa(n)))
	if err != nil {
		return reasonOf(err)
	}
	defer func() { _ = r.Body.Close() }()
	var answer struct{ Error struct{ Code string } }
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return reasonOf(err)
	}
	_ = json.Unmarshal(body, &answer) // a success has no such member
	return strings.TrimSpace(fmt.Sprint(r.StatusCode, " ", answer.Error.Code))
}

// A crash of the manager while somebody edits the configuration ends nothing:
// the next one serves what was served.
func TestManagerIsKilledWhileTheFilesAreInvalid(t *testing.T) {
	addr := freeAddr(t)
	p := newPair(t, fmt.Sprintf(listening, addr), nil)
	p.write("half a li")
	for n := range 2 {
		if err := syscall.Kill(p.children()["manager"], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		p.until("the next manager serves", func() bool { return strings.Count(p.out.String(), "ready: control=") == n+2 })
		if err := once(addr); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(p.out.String(), "what is on disk cannot be served; the generation from before the crash is") {
		t.Error("nobody said what is served")
	}
	p.host(exitInvalid, "reload")
	p.write(fmt.Sprintf(listening, addr) + "# changed\n")
	p.host(0, "reload")
}

// once makes one connection and wants an answer on it, whatever it says.
func once(addr string) error {
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get("http://" + addr + "/")
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	_, err = io.Copy(io.Discard, r.Body)
	return err
}

func reasonOf(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.EOF):
		return "closed without an answer"
	case errors.As(err, &op) && op.Timeout():
		return "timeout"
	}
	return err.Error()
}

// A plugin runs as the user that its process block names, where the policy has
// that: with state of its own, and a socket that the manager reaches.
func TestAnotherUser(t *testing.T) {
	needRoot(t)
	p := newPair(t, fmt.Sprintf(listening, freeAddr(t))+`
plugin "file" "f" {
  watch = "*.csv"
  process { user = "daemon" }
}
`, nil, "--allow", "user daemon")
	pid := p.children()["file"]
	status, _ := facts(t, pid)
	uid, _, _ := strings.Cut(status["Uid"], "\t")
	if uid == "0" || uid == "65534" || status["CapEff"] != "0000000000000000" || status["NoNewPrivs"] != "1" {
		t.Errorf("file (%d): Uid %s CapEff %s NoNewPrivs %s", pid, status["Uid"], status["CapEff"], status["NoNewPrivs"])
	}
	st, err := os.Stat(filepath.Join(p.dir, "state", "instances", "file@daemon"))
	if err != nil || fmt.Sprint(st.Sys().(*syscall.Stat_t).Uid) != uid || st.Mode().Perm() != 0o700 {
		t.Errorf("its state: %v, %v", st, err)
	}
}

package server

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/cgroup"
	"github.com/pluginhost/host/host/spawner/child"
	"github.com/pluginhost/host/host/spawner/message"
)

// process is one that runs.
type process struct {
	pid   int // also the id of its process group and session
	give4 int // our end of its descriptor 4
	dir   string
	group *cgroup.Group

	mu    sync.Mutex
	ended bool // reaped: the pid may be somebody else's now
}

const (
	selfFD    = child.SetupFD + 1
	setupTime = 30 * time.Second // for a child to become its program
)

// defaultProcesses is how many processes and threads a plugin has that names no
// number; its memory is half of the machine's. Who needs more says so.
const defaultProcesses = 1024

// forkThread starts processes, one at a time, on a thread that lives as long as
// the spawner: Pdeathsig fires when the thread that forked ends.
func forkThread(forks <-chan func()) {
	runtime.LockOSThread()
	for f := range forks {
		f()
	}
}

func (s *Spawner) tooMany() error {
	return &spawner.Error{Kind: spawner.Limit, Message: fmt.Sprintf("%d processes run already, which is the limit of the spawner's policy (limit processes)", s.policy.Load().Processes)}
}

// stateName reports whether name can be that of a directory below the state
// directory: letters, digits and _.@-, a small letter or a digit first.
func stateName(name string) bool {
	const alone = "abcdefghijklmnopqrstuvwxyz0123456789"
	return len(name) <= 128 && strings.ContainsRune(alone, rune(name[0])) && strings.Trim(name, alone+"ABCDEFGHIJKLMNOPQRSTUVWXYZ_.@-") == ""
}

// start starts a process from the descriptor of its executable.
func (s *session) start(r *spawner.Start, fds []int, a *spawner.Reply) (out []int, err error) {
	s.mu.Lock()
	u := s.dirs[r.Dir]
	delete(s.dirs, r.Dir)
	full := len(s.processes) >= s.policy.Load().Processes
	s.mu.Unlock()
	p := &process{dir: r.Dir, give4: -1, group: &cgroup.Group{}}
	defer func() {
		if err != nil && u != nil && p.pid == 0 {
			p.discard()
		}
	}()
	switch {
	case u == nil:
		return nil, &spawner.Error{Kind: spawner.Invalid, Message: "start needs a private directory that was made for it"}
	case len(r.Argv) == 0 || len(fds) != 1:
		return nil, &spawner.Error{Kind: spawner.Invalid, Message: "start needs argv and the descriptor of one executable"}
	case r.State != "" && !stateName(r.State):
		return nil, &spawner.Error{Kind: spawner.Invalid, Message: fmt.Sprintf("%q cannot name a directory", r.State)}
	case full:
		return nil, s.tooMany()
	}
	if want, err := s.userOf(r.User); err != nil || want.UID != u.UID {
		return nil, errors.Join(err, &spawner.Error{Kind: spawner.Invalid, Message: "the private directory is another user's"})
	}
	if most := s.policy.Load().Memory; most > 0 && (r.Memory == 0 || r.Memory > most) {
		return nil, &spawner.Error{Kind: spawner.Refused, Message: fmt.Sprintf("a process has at most %d bytes of memory by the spawner's policy (limit memory); set process { memory }", most)}
	}
	exe, err := s.checker.Verify(fds[0], r.Digest)
	if err != nil {
		return nil, err
	}
	defer exe.Release()
	if r.State != "" {
		if err := s.ownDir(s.stateOf(r.State), u, 0o700); err != nil {
			return nil, fmt.Errorf("state directory: %w", err)
		}
	}
	setup := s.setup(r, p, fds[0])
	a.Texts = append(a.Texts, p.bound(s.Spawner, r, setup)...)
	for _, name := range r.Require {
		for _, m := range a.Texts {
			if word, _, _ := strings.Cut(m, ":"); word == name {
				return nil, &spawner.Error{Kind: spawner.Lacking, Message: "required and not to be had here: " + m}
			}
		}
	}

	// Whatever is ours is closed on each way out but the last.
	var ours, theirs []int
	defer func() {
		spawner.CloseAll(theirs)
		if err != nil {
			spawner.CloseAll(ours)
			out = nil
		}
	}()
	for range 2 { // stdout, stderr
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			return nil, os.NewSyscallError("pipe", err)
		}
		ours, theirs = append(ours, pipe[0]), append(theirs, pipe[1])
	}
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET} { // lane, descriptors
		x, y, err := spawner.Socketpair(kind)
		if err != nil {
			return nil, err
		}
		ours, theirs = append(ours, x), append(theirs, y)
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open /dev/null", err)
	}
	theirs = append(theirs, null)
	attr := &syscall.ProcAttr{Dir: "/", Env: []string{}, Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}}
	for _, fd := range []int{null, theirs[0], theirs[1], theirs[2], theirs[3], fds[0]} {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	if err := s.become(p, u, setup, attr); err != nil {
		return nil, err
	}
	if !exe.Unchanged() {
		p.abandon()
		return nil, &spawner.Error{Kind: spawner.Refused, Message: "the executable was changed while it was started: replace plugins with mv, not by writing into them"}
	}
	p.give4 = ours[3]
	_ = unix.SetNonblock(p.give4, true) // a process that does not read must not hold us
	s.mu.Lock()
	s.last++
	a.Process, a.Pid = s.last, int64(p.pid)
	s.processes[s.last] = p
	ending := s.ending
	s.mu.Unlock()
	if ending {
		_ = p.signal(unix.SIGKILL)
	}
	s.waits.Go(func() { s.wait(a.Process, p) })
	return ours[:3], nil
}

func (s *Spawner) stateOf(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return filepath.Join(s.state, "instances", name)
}

// setup says what the child puts on before its program begins.
func (s *session) setup(r *spawner.Start, p *process, exe int) *child.Setup {
	c := &child.Setup{Argv: r.Argv, Env: r.Env, Dir: "/", Keep: child.ExeFD, Umask: 0o077, Parent: int64(os.Getpid()),
		Files: r.Files, FileSize: r.FileSize, Core: r.Core, Network: r.Network || r.Free,
		Confined: !r.Free && child.LandlockABI() > 0, Filtered: !r.Free && child.Filters(),
		Write: append([]string{r.Dir}, r.Write...), Read: r.Read}
	if s.root {
		c.Umask = 0o007 // the manager's group reaches the socket in its directory
	}
	if r.State != "" {
		c.Write = append(c.Write, s.stateOf(r.State))
	}
	if script(exe) {
		c.Keep++
		// What an interpreter finds beside its script.
		if path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", exe)); err == nil {
			dir := filepath.Dir(path)
			c.Read = append(c.Read, dir, filepath.Join(filepath.Dir(dir), "node_modules"), filepath.Join(filepath.Dir(dir), "lib"))
		}
	}
	return c
}

// bound makes the group of a process and returns what of its limits, and of the
// sandbox, cannot be kept here.
func (p *process) bound(s *Spawner, r *spawner.Start, c *child.Setup) (missing []string) {
	lack := func(name, why string) { missing = append(missing, name+": "+why) }
	var none []string
	p.group, none = s.groups.New(filepath.Base(p.dir), cgroup.Limits{
		Memory: cmp.Or(r.Memory, cgroup.MachineMemory()/2), CPU: r.CPU, Pids: cmp.Or(r.Procs, defaultProcesses), Of: cmp.Or(r.State, p.dir)})
	asked := map[string]int64{cgroup.Memory: r.Memory, cgroup.CPU: r.CPU, cgroup.Pids: r.Procs}
	for _, controller := range none {
		if asked[controller] > 0 {
			lack(word(controller), s.groups.Lacks(controller))
		}
	}
	if slices.Contains(none, cgroup.Memory) {
		c.Data = r.Memory // of each of its processes: better than nothing
	}
	if !c.Confined && !r.Free {
		lack(spawner.Landlock, "the kernel has no Landlock")
	}
	if !c.Filtered && !r.Free {
		lack(spawner.Seccomp, "the kernel has no seccomp for this machine")
	}
	for _, name := range []string{spawner.Landlock, spawner.Seccomp, spawner.Sandbox} {
		if r.Free && slices.Contains(r.Require, name) {
			lack(name, "the plugin has the capability programs, which leaves it unconfined")
		}
	}
	return missing
}

// word is what process { require } calls a controller.
func word(controller string) string {
	return strings.Replace(controller, cgroup.Pids, spawner.Processes, 1)
}

// become forks a child as a user, with the descriptors up to child.ExeFD, puts
// it into its group, gives it its setup, and returns when its program runs. No
// child is left after an error.
func (s *Spawner) become(p *process, u *User, setup *child.Setup, attr *syscall.ProcAttr) error {
	if s.self < 0 {
		return errNoSelf
	}
	conn, theirs, err := half()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if s.root {
		attr.Sys.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
	}
	// What is executed is among the descriptors: any other number may be taken
	// over while those are put in their places.
	attr.Files = append(attr.Files, uintptr(theirs), uintptr(s.self)) // child.SetupFD, selfFD
	err = s.fork(p, attr)
	_ = unix.Close(theirs)
	if err != nil {
		return fmt.Errorf("start a child: %w", err)
	}
	if err = p.group.Add(p.pid); err == nil {
		err = tell(conn, setup)
	}
	if err != nil {
		p.abandon()
	}
	return err
}

// tell gives a child its setup and waits until its program runs.
func tell(conn *net.UnixConn, setup *child.Setup) error {
	b, err := message.Encode(setup.Fields)
	if err != nil {
		return &spawner.Error{Kind: spawner.Invalid, Message: err.Error()}
	}
	_ = conn.SetDeadline(time.Now().Add(setupTime))
	if _, err := conn.Write(b); err != nil {
		return fmt.Errorf("give a child its setup: %w", err)
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if n > 0 {
		return &spawner.Error{Kind: spawner.Failed, Message: string(buf[:n])}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the child did not become %s within %s", setup.Argv[0], setupTime)
	}
	return nil // closed: its program runs, or it has ended, which wait tells
}

// fork starts a child on the fork thread.
func (s *Spawner) fork(p *process, attr *syscall.ProcAttr) (err error) {
	done := make(chan struct{})
	s.forks <- func() {
		defer close(done)
		if p.pid, err = syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", selfFD), []string{child.Name}, attr); err != nil {
			p.pid = 0
		}
	}
	<-done
	return err
}

// abandon ends a process that has not been anybody's yet: no need to ask.
func (p *process) abandon() {
	_ = p.signal(unix.SIGKILL)
	_, _ = Reap(p.pid)
	p.pid = 0
}

// script reports whether an executable is for an interpreter.
func script(fd int) bool {
	var b [2]byte
	n, err := unix.Pread(fd, b[:], 0)
	return err == nil && n == 2 && b == [2]byte{'#', '!'}
}

// wait waits for the end of a process, ends what it left behind, and tells the
// client how it ended.
func (s *session) wait(number uint64, p *process) {
	// Not reaped yet after this, its pid, which names the group, cannot be
	// another's when the rest is ended.
	Await(p.pid)
	_ = p.signal(unix.SIGKILL)
	hit, limit := p.group.Hit()
	e := spawner.Exit{Hit: word(hit), Limit: limit} // before those that are ended here count
	p.group.Kill()
	p.mu.Lock()
	status, usage := Reap(p.pid)
	p.ended = true
	p.mu.Unlock()
	s.mu.Lock()
	delete(s.processes, number)
	_ = unix.Close(p.give4)
	s.mu.Unlock()
	p.discard()
	e.Code, e.MaxRSS = int64(status.ExitStatus()), usage.Maxrss<<10
	if status.Signaled() {
		e.Code, e.Signal, e.Core = -1, int64(status.Signal()), status.CoreDump()
	}
	_ = s.send(&spawner.Reply{Process: number, Exit: e}) // a client that is gone has no need
}

// Await waits for the end of a process and leaves it to be reaped.
func Await(pid int) {
	var info unix.Siginfo
	for errors.Is(unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
}

// Reap says how a process ended; its pid may be another's from then on.
func Reap(pid int) (status unix.WaitStatus, usage unix.Rusage) {
	for {
		if _, err := unix.Wait4(pid, &status, 0, &usage); !errors.Is(err, unix.EINTR) {
			return status, usage
		}
	}
}

// discard removes what belongs to the process alone.
func (p *process) discard() {
	p.group.Remove()
	removeDir(p.dir)
}

// signal signals the whole group.
func (p *process) signal(sig unix.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.pid <= 0 {
		return &spawner.Error{Kind: spawner.Missing, Message: "the process has ended"}
	}
	return os.NewSyscallError("kill", unix.Kill(-p.pid, sig))
}

// give passes a descriptor. The spawner's lock is held.
func (p *process) give(name string, fd int) error {
	err := unix.Sendmsg(p.give4, []byte(name), unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
	if errors.Is(err, unix.EAGAIN) {
		return &spawner.Error{Kind: spawner.Failed, Message: "the process does not take its descriptors"}
	}
	return os.NewSyscallError("sendmsg", err)
}

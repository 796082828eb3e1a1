package spawner

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is one that runs.
type process struct {
	pid   int // also the id of its process group and session
	give4 int // our end of its descriptor 4

	mu    sync.Mutex
	ended bool // reaped: the pid may be somebody else's now
}

// Descriptors of a process, in the order of os.ProcAttr.Files: null, stdout,
// stderr, lane, descriptors and, for a script, the script.
const scriptFD = 5

// busyRetries bounds the wait for an executable that is still open for writing
// somewhere: a fork elsewhere holds such a descriptor for an instant.
const busyRetries = 50

// forkThread starts processes, one at a time, on a thread that lives as long as
// the spawner: Pdeathsig fires when the thread that forked ends.
func forkThread(forks <-chan func()) {
	runtime.LockOSThread()
	for f := range forks {
		f()
	}
}

// start starts a process from the descriptor of its executable.
func (s *server) start(r *Start, exe int, a *reply) (out []int, err error) {
	if len(r.Argv) == 0 {
		return nil, &Error{Kind: Invalid, Message: "start needs argv"}
	}
	s.mu.Lock()
	full := len(s.processes) >= s.policy.MaxProcesses
	s.mu.Unlock()
	if full {
		return nil, &Error{Kind: Limit, Message: fmt.Sprintf("%d processes run already, which is the limit", s.policy.MaxProcesses)}
	}
	// Whatever is ours is closed on each way out but the last.
	var ours, theirs []int
	defer func() {
		closeAll(theirs)
		if err != nil {
			closeAll(ours)
			out = nil
		}
	}()
	for range 2 { // stdout, stderr
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return nil, os.NewSyscallError("pipe", err)
		}
		ours, theirs = append(ours, p[0]), append(theirs, p[1])
	}
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET} { // lane, descriptors
		x, y, err := socketpair(kind)
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
	child := []int{null, theirs[0], theirs[1], theirs[2], theirs[3]}

	// The descriptor itself is executed, not a path that could lead elsewhere
	// by now. An interpreter opens the path again after the exec, so a script
	// stays open; the kernel has its own reference to a binary.
	path := ""
	if script(exe) {
		child = append(child, exe)
		path = fmt.Sprintf("/proc/self/fd/%d", scriptFD)
	} else {
		// Above the numbers that the child's own descriptors take.
		high, err := unix.FcntlInt(uintptr(exe), unix.F_DUPFD_CLOEXEC, 64)
		if err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
		theirs = append(theirs, high)
		path = fmt.Sprintf("/proc/self/fd/%d", high)
	}
	pid, err := s.fork(path, r, child)
	if err != nil {
		return nil, err
	}
	if r.Memory > 0 {
		// Private writable memory: what a garbage collector only reserves
		// does not count.
		limit := unix.Rlimit{Cur: uint64(r.Memory), Max: uint64(r.Memory)}
		_ = unix.Prlimit(pid, unix.RLIMIT_DATA, &limit, nil)
	}
	p := &process{pid: pid, give4: ours[3]}
	_ = unix.SetNonblock(p.give4, true) // a process that does not read must not hold us
	s.mu.Lock()
	s.last++
	a.Process, a.Pid = s.last, pid
	s.processes[s.last] = p
	s.mu.Unlock()
	s.waits.Go(func() { s.wait(a.Process, p) })
	return ours[:3], nil
}

// fork starts the process on the fork thread.
func (s *server) fork(path string, r *Start, child []int) (pid int, err error) {
	files := make([]uintptr, len(child))
	for i, fd := range child {
		files[i] = uintptr(fd)
	}
	attr := &syscall.ProcAttr{Dir: r.Dir, Env: r.Env, Files: files,
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}}
	done := make(chan struct{})
	s.forks <- func() {
		defer close(done)
		for range busyRetries {
			pid, err = syscall.ForkExec(path, r.Argv, attr)
			if !errors.Is(err, unix.ETXTBSY) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	<-done
	if err != nil {
		return 0, fmt.Errorf("execute %s: %w", r.Argv[0], err)
	}
	return pid, nil
}

// script reports whether an executable is for an interpreter.
func script(fd int) bool {
	var b [2]byte
	n, err := unix.Pread(fd, b[:], 0)
	return err == nil && n == 2 && b == [2]byte{'#', '!'}
}

// wait waits for the end of a process, ends what it left behind in its group,
// and tells the client.
func (s *server) wait(number uint64, p *process) {
	var info unix.Siginfo
	for {
		// The process is not reaped yet after this, so that its pid, which
		// names the group, cannot be another's when the rest is ended.
		err := unix.Waitid(unix.P_PID, p.pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = p.signal(unix.SIGKILL)
	var status unix.WaitStatus
	p.mu.Lock()
	for {
		_, err := unix.Wait4(p.pid, &status, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.ended = true
	p.mu.Unlock()
	s.mu.Lock()
	delete(s.processes, number)
	_ = unix.Close(p.give4)
	s.mu.Unlock()
	e := &Exit{Code: status.ExitStatus()}
	if status.Signaled() {
		e.Code, e.Signal = -1, int(status.Signal())
	}
	_ = s.send(reply{Process: number, Exit: e}) // a client that is gone has no need
}

// signal signals the whole group.
func (p *process) signal(sig unix.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return &Error{Kind: Missing, Message: "the process has ended"}
	}
	return os.NewSyscallError("kill", unix.Kill(-p.pid, sig))
}

// give passes a descriptor. The server's lock is held.
func (p *process) give(name string, fd int) error {
	err := unix.Sendmsg(p.give4, []byte(name), unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
	if errors.Is(err, unix.EAGAIN) {
		return &Error{Kind: Failed, Message: "the process does not take its descriptors"}
	}
	return os.NewSyscallError("sendmsg", err)
}

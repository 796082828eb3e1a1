// Package server is the privileged side of the daemon, the spawner: it
// starts processes, binds sockets, opens files and keeps their descriptors. It
// reads no HCL and no event, and answers a closed set of requests of a fixed
// form, each checked against a policy.Policy that whoever asks cannot change.
//
// Under host run it is the process that the user started (host/spawner/supervise);
// embedded it is a goroutine behind the same socketpair (host/spawner/embedded). It outlives who asks: Serve serves one manager, and the
// sockets that one had are there for the next.
package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
	"github.com/pluginhost/host/host/spawner/cgroup"
	"github.com/pluginhost/host/host/spawner/child"
	"github.com/pluginhost/host/host/spawner/executable"
	"github.com/pluginhost/host/host/spawner/lease"
	"github.com/pluginhost/host/host/spawner/policy"
)

// Options configure a Spawner.
type Options struct {
	// Policy is what is allowed; nil for what holds where nothing is written.
	Policy *policy.Policy
	// Self is an executable that calls child.Main first: this one, where it
	// does. Without it nothing is started.
	Self string
	// User is who the manager runs as, and every process that names no user.
	// nil: the caller.
	User *User
	// Lacks is what is missing besides what the spawner finds, for the status.
	Lacks []string
}

// Spawner is the state that outlives a manager.
type Spawner struct {
	user    *User
	root    bool
	self    int // descriptor of the executable for children, or -1
	policy  atomic.Pointer[policy.Policy]
	base    string // holds the private directories of processes
	groups  *cgroup.Tree
	checker executable.Checker
	lacks   []string // what this machine cannot do, for people

	forks  chan func() // run on the one thread that forks
	forked chan struct{}

	mu      sync.Mutex
	last    uint64           // number given to a lease, process or directory
	leases  map[string]*held // by name
	state   string           // the state directory; once named it stays
	plugins string           // the plugin directory; likewise
}

// held is a lease with what the next manager needs to find it again.
type held struct {
	*lease.Lease
	asked   spawner.Bind
	address string // really bound
	rights  bool   // made with the spawner's own file rights
	left    bool   // its manager is gone, and the next has not asked for it yet
}

// errNoSelf says that there is nothing to become a process.
var errNoSelf = errors.New("nothing can be started: the daemon is embedded without an executable for children; call host.Child first in main, and name that executable with Options.Self")

// New returns a spawner. Close it.
func New(o Options) (*Spawner, error) {
	s := &Spawner{user: o.User, self: -1, root: os.Geteuid() == 0, forks: make(chan func()), forked: make(chan struct{}),
		leases: map[string]*held{}}
	if s.user == nil {
		u, err := Caller()
		if err != nil {
			return nil, err
		}
		s.user = u
	}
	if o.Policy == nil {
		o.Policy = policy.Default(s.root, s.user.Name)
	}
	s.policy.Store(o.Policy)
	s.checker.Owner = s.user.UID
	if o.Self != "" {
		fd, err := unix.Open(o.Self, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		s.self = fd
		if err != nil {
			return nil, fmt.Errorf("the executable for children: %w", &os.PathError{Op: "open", Path: o.Self, Err: err})
		}
	}
	base, err := makeBase(s.root)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("directory for processes: %w", err), s.closeSelf())
	}
	s.base = base
	s.groups = cgroup.Open(filepath.Base(base))
	s.lacks = append(s.missing(), o.Lacks...)
	go func() { defer close(s.forked); forkThread(s.forks) }()
	return s, nil
}

// missing says what this machine cannot do that is promised without asking.
func (s *Spawner) missing() []string {
	var lacks []string
	if s.self < 0 {
		return []string{errNoSelf.Error()}
	}
	if child.LandlockABI() == 0 {
		lacks = append(lacks, "the kernel has no Landlock: plugins can read and write whatever their user can")
	}
	if !child.Filters() {
		lacks = append(lacks, "the kernel has no seccomp for this machine: plugins without the capability network can dial out")
	}
	if s.groups.Lacks(cgroup.CPU) == "" && s.groups.Lacks(cgroup.Idle) != "" {
		lacks = append(lacks, "the kernel has no cpu.idle: a plugin that uses most of the machine does not yield to the others")
	}
	return lacks
}

// SetPolicy replaces the policy. What was granted under the old one stays.
func (s *Spawner) SetPolicy(p *policy.Policy) { s.policy.Store(p) }

// Close closes every lease. No Serve may be running.
func (s *Spawner) Close() error {
	close(s.forks)
	<-s.forked
	for _, l := range s.leases {
		s.end(l)
	}
	s.groups.Close()
	return errors.Join(os.RemoveAll(s.base), s.closeSelf())
}

func (s *Spawner) closeSelf() error {
	if s.self < 0 {
		return nil
	}
	return unix.Close(s.self)
}

// makeBase makes the directory that holds those of the processes: short, since
// it is the beginning of socket paths. Those of spawners that are gone go too.
func makeBase(root bool) (string, error) {
	parent, mode := os.TempDir(), os.FileMode(0o700)
	if root {
		if _, err := os.Stat("/run"); err == nil {
			parent = "/run"
		}
		mode = 0o711 // processes of other users reach their own
	}
	old, _ := filepath.Glob(filepath.Join(parent, "host-[0-9]*.*"))
	for _, dir := range old {
		var st unix.Stat_t
		if cgroup.Abandoned(dir) && unix.Lstat(dir, &st) == nil && int(st.Uid) == os.Geteuid() && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			_ = os.RemoveAll(dir)
		}
	}
	dir, err := os.MkdirTemp(parent, fmt.Sprintf("host-%d.", os.Getpid()))
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, mode)
}

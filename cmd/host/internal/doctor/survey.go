package doctor

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner/cgroup"
	"github.com/pluginhost/host/host/spawner/child"
)

// finding is something that the spawner needs of the machine.
type finding struct {
	Name string // landlock, memory, …: the words of process { require } where they are one
	OK   bool
	Text string // what there is, or what is missing and how to have it
}

// survey looks at what this machine offers to a spawner that runs as the caller.
// It changes nothing that stays.
func survey() []finding {
	var all []finding
	found := func(name string, ok bool, yes, no string, args ...any) {
		f := finding{Name: name, OK: ok, Text: yes}
		if !ok {
			f.Text = no
		}
		if strings.Contains(f.Text, "%") {
			f.Text = fmt.Sprintf(f.Text, args...)
		}
		all = append(all, f)
	}
	var uts unix.Utsname
	_ = unix.Uname(&uts)
	found("kernel", true, "Linux %s", "", unix.ByteSliceToString(uts.Release[:]))
	found("root", os.Geteuid() == 0, "the manager and the plugins can run as other users; ports below 1024 can be bound",
		"not root: everything runs as you, and the kernel decides which ports you may bind; sudo host run has the rest")
	abi := child.LandlockABI()
	found("landlock", abi > 0, "version %d: plugins see the system and what is theirs", "not in this kernel (5.13 has it, with CONFIG_SECURITY_LANDLOCK and landlock in lsm=)", abi)
	if abi > 0 && abi < 6 {
		found("landlock-scope", false, "", "version %d does not keep plugins from signalling other processes of their user (6 does, with Linux 6.12): give them users of their own", abi)
	}
	found("seccomp", child.Filters(), "plugins without the capability network make no internet sockets", "not for this kernel and machine: plugins can dial out")
	tree := cgroup.Open(fmt.Sprintf("host-%d.doctor", os.Getpid()))
	for _, c := range []struct{ controller, name, yes, instead string }{
		{cgroup.Memory, "memory", "process { memory } is kept for a process with all its descendants", "RLIMIT_DATA bounds each process alone instead"},
		{cgroup.CPU, "cpu", "process { cpu } is kept", "process { cpu } is not kept"},
		{cgroup.Pids, "processes", "process { processes } is kept", "process { processes } is not kept"},
	} {
		why := tree.Lacks(c.controller)
		found(c.name, why == "", c.yes, "no %s cgroup (%s): %s; run as root, or under systemd with Delegate=yes", c.controller, why, c.instead)
	}
	found("yielding", tree.Lacks(cgroup.Idle) == "", "a plugin that uses most of the machine yields to the others",
		"no cpu.idle (%s): a plugin that uses most of the machine keeps the others waiting; Linux 5.15 has it, and it needs what cpu needs", tree.Lacks(cgroup.Idle))
	tree.Close()
	return all
}

package client

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner"
)

// instead says what holds where a machine does not keep a limit, by its name.
var instead = map[string]string{
	spawner.Memory:    "RLIMIT_DATA bounds the private memory of each of its processes instead",
	spawner.CPU:       "the limit is not kept",
	spawner.Processes: "the limit is not kept",
}

// missing makes lines for people of what the spawner says is lacking, each
// "name: why".
func missing(lacks []string) []string {
	lines := make([]string, 0, len(lacks))
	for _, l := range lacks {
		name, why, _ := strings.Cut(l, ": ")
		if more := instead[name]; more != "" {
			l = fmt.Sprintf("%s: no cgroup for it (%s); %s", name, why, more)
		}
		lines = append(lines, l)
	}
	return lines
}

// Why says which limit ended the process, where its end tells; valid after Done.
func (p *Process) Why() string {
	x := p.exit
	switch {
	case x.Hit == spawner.Memory:
		return fmt.Sprintf("the kernel ended it because it used more than its memory limit of %d MiB", x.Limit>>20)
	case x.Hit == spawner.Processes:
		return fmt.Sprintf("it reached its limit of %d processes and threads", x.Limit)
	case x.Signal == int64(unix.SIGXFSZ):
		return "it wrote more into a file than process { file_size } allows"
	case x.Signal == int64(unix.SIGSYS):
		return "it made a system call that the sandbox does not allow"
	case p.bounded && x.Signal == 0 && x.Code == 2:
		return fmt.Sprintf("it had at most %d MiB of memory (RLIMIT_DATA)", p.limits.Memory>>20)
	}
	return ""
}

// bounded reports whether only RLIMIT_DATA bounds the memory of a process.
func bounded(lacks []string) bool {
	for _, l := range lacks {
		if strings.HasPrefix(l, spawner.Memory+": ") {
			return true
		}
	}
	return false
}

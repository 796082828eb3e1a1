package policy

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Path is where the policy is looked for when no other file is named.
const Path = "/etc/host/spawner.policy"

// Bounds of a policy file.
const (
	maxFile  = 256 << 10 // bytes
	maxLines = 4096
)

// Load reads the policy: the defaults, replaced kind by kind by what a file
// says, and added to by the lines of flags. A file that was not asked for (path
// is empty) may be missing. The file must belong to root or to the caller, and
// nobody else may be able to write to it.
func Load(path string, allow []string, root bool, user string) (*Policy, error) {
	p := Default(root, user)
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	if path == "" {
		path = Path
	}
	said := &Policy{}
	if err := said.lines(path, text); err != nil {
		return nil, err
	}
	for _, pair := range []struct{ to, from *[]rule }{{&p.users, &said.users}, {&p.plugins, &said.plugins}, {&p.binds, &said.binds}, {&p.foreign, &said.foreign}, {&p.files, &said.files}} {
		if len(*pair.from) > 0 {
			*pair.to = *pair.from
		}
	}
	if said.Processes > 0 {
		p.Processes = said.Processes
	}
	if said.Leases > 0 {
		p.Leases = said.Leases
	}
	if said.Memory > 0 {
		p.Memory = said.Memory
	}
	for _, line := range allow {
		if err := p.line("--allow", line); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// read returns the text of a policy file that can be trusted.
func read(path string) (string, error) {
	asked := path != ""
	if !asked {
		path = Path
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) && !asked {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("policy: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", fmt.Errorf("policy %s: %w", path, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return "", fmt.Errorf("policy %s is not a regular file", path)
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return "", fmt.Errorf("policy %s belongs to user %d, who could change it: chown root %s", path, st.Uid, path)
	case st.Mode&0o022 != 0:
		return "", fmt.Errorf("policy %s can be changed by its group or by others: chmod go-w %s", path, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	if err != nil {
		return "", fmt.Errorf("policy %s: %w", path, err)
	}
	return string(b), nil
}

func (p *Policy) lines(name, text string) error {
	for n, line := range strings.SplitN(text, "\n", maxLines) {
		where := name
		if name != "default" {
			where = fmt.Sprintf("%s:%d", name, n+1)
		}
		if err := p.line(where, line); err != nil {
			return err
		}
	}
	return nil
}

// line reads one line: a word and what it allows. # begins a comment.
func (p *Policy) line(where, text string) error {
	text, _, _ = strings.Cut(text, "#")
	f := strings.Fields(text)
	if len(f) == 0 {
		return nil
	}
	wrong := func(format string, a ...any) error {
		return fmt.Errorf("%s: %s: %s", where, strings.TrimSpace(text), fmt.Sprintf(format, a...))
	}
	r := rule{text: strings.Join(f, " "), where: where}
	switch {
	case f[0] == "user" && len(f) == 2:
		r.name = f[1]
		p.users = append(p.users, r)
	case f[0] == "plugins" && len(f) == 2:
		r.name = filepath.Clean(f[1])
		if !filepath.IsAbs(r.name) {
			return wrong("a directory is an absolute path")
		}
		p.plugins = append(p.plugins, r)
	case f[0] == "bind" && len(f) == 3 && f[1] == "unix":
		if !filepath.IsAbs(f[2]) {
			return wrong("a path is absolute; one that ends in / is a directory and all in it")
		}
		r.network, r.name = "unix", f[2]
		p.binds = append(p.binds, r)
	case f[0] == "bind" && len(f) == 3 && (f[1] == "tcp" || f[1] == "udp"):
		r.network = f[1]
		if err := r.address(f[2]); err != nil {
			return wrong("%v", err)
		}
		p.binds = append(p.binds, r)
	case f[0] == "transparent" && len(f) == 3 && (f[1] == "tcp" || f[1] == "udp"):
		r.network = f[1]
		if err := r.address(f[2]); err != nil {
			return wrong("%v", err)
		}
		p.foreign = append(p.foreign, r)
	case f[0] == "file" && len(f) >= 3:
		if !filepath.IsAbs(f[1]) {
			return wrong("a path is absolute; one that ends in / is a directory and all in it")
		}
		for _, a := range f[2:] {
			if !slices.Contains([]string{"read", "append", "write", "directory"}, a) {
				return wrong("there are read, append, write and directory")
			}
		}
		r.name, r.access = f[1], f[2:]
		p.files = append(p.files, r)
	case f[0] == "limit" && len(f) == 3:
		n, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil || n < 1 || n > 1<<50 {
			return wrong("a limit is a number of at least 1")
		}
		switch f[1] {
		case "processes":
			p.Processes = int(min(n, 1<<20))
		case "leases":
			p.Leases = int(min(n, 1<<20))
		case "memory":
			p.Memory = n
		default:
			return wrong("there are limits of processes, leases and memory (bytes)")
		}
	default:
		return wrong("it is none of: user NAME, plugins DIR, bind tcp|udp ADDRESS:PORTS, bind unix PATH, transparent tcp|udp ADDRESS:PORTS, file PATH ACCESS…, limit processes|leases|memory N")
	}
	return nil
}

// address reads ADDRESS:PORTS: *, an address or a network; *, a port or a range.
func (r *rule) address(s string) error {
	n := strings.LastIndexByte(s, ':')
	if n < 0 {
		return errors.New("write ADDRESS:PORTS, for example *:80 or 127.0.0.1:8000-8999")
	}
	host, ports := strings.Trim(s[:n], "[]"), s[n+1:]
	if host != "*" {
		prefix, err := netip.ParsePrefix(host)
		if err != nil {
			a, err := netip.ParseAddr(host)
			if err != nil {
				return fmt.Errorf("%q is no IP address, network or *", host)
			}
			prefix = netip.PrefixFrom(a, a.BitLen())
		}
		r.prefix = prefix.Masked()
	}
	if ports == "*" {
		r.low, r.high = 0, 65535
		return nil
	}
	low, high, ok := strings.Cut(ports, "-")
	if !ok {
		high = low
	}
	l, err := strconv.ParseUint(low, 10, 16)
	h, err2 := strconv.ParseUint(high, 10, 16)
	if err != nil || err2 != nil || l > h || l == 0 {
		return fmt.Errorf("%q is no port, range of ports or *", ports)
	}
	r.low, r.high = uint16(l), uint16(h)
	return nil
}

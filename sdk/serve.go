package sdk

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/sdk/internal/pace"
	"github.com/pluginhost/host/sdk/wire"
	"github.com/pluginhost/host/sdk/wire/rpc"
)

// closeBound is how long instances have to end when host is gone.
const closeBound = 2 * time.Second

// Serve runs the plugin; it is the last call of main and does not return.
func Serve[C any](p Plugin[C]) {
	s, err := newProcess(p)
	if err != nil {
		fmt.Fprintf(os.Stderr, "plugin %s: %v\n", p.Name, err)
		os.Exit(1)
	}
	if os.Getenv(rpc.CookieKey) != rpc.CookieValue {
		fmt.Fprint(os.Stderr, s.introduction(filepath.Base(os.Args[0])))
		os.Exit(1)
	}
	if err := s.serve(); err != nil {
		fmt.Fprintf(os.Stderr, "plugin %s: %v\n", p.Name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve runs until host closes the lane.
func (s *process) serve() error {
	pace.Keep()
	// A terminal's Ctrl-C goes to everybody; host drains first, and says so.
	// Caught rather than ignored: a program that the plugin starts would inherit
	// the latter.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// The process was executed by a descriptor, whose number ps would show.
	_ = os.WriteFile("/proc/self/comm", []byte(s.manifest.Name), 0) // for people only
	// go-plugin takes the standard descriptors over: ours are duplicates.
	stdout, err := duplicate(1, "stdout")
	if err != nil {
		return err
	}
	stderr, err := duplicate(2, "stderr")
	if err != nil {
		return err
	}
	s.stdout = &lines{w: stdout}
	s.log = hclog.New(&hclog.LoggerOptions{Name: s.manifest.Name, Level: hclog.Trace, Output: stderr, JSONFormat: true})
	lane, err := inherited(wire.LaneFD, "lane")
	if err != nil {
		return err
	}
	descriptors, err := inherited(wire.DescriptorFD, "descriptors")
	if err != nil {
		return err
	}
	s.connect(lane)
	go plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: rpc.Handshake(), Plugins: rpc.PluginSet(s), GRPCServer: rpc.GRPCServer,
		Logger: hclog.New(&hclog.LoggerOptions{Name: s.manifest.Name, Level: hclog.Warn, Output: stderr, JSONFormat: true}),
	})
	err = s.run(context.Background(), descriptors)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "plugin %s: %v\n", s.manifest.Name, err)
	}
	return err
}

func duplicate(fd int, name string) (*os.File, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(n), name), nil
}

// inherited takes over a socket that host gave this process.
func inherited(fd int, name string) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is not the %s that host gives its plugins: %w", fd, name, err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("descriptor %d is not a unix socket", fd)
	}
	return u, nil
}

// lines writes whole lines, one writer at a time.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

package launch

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"

	"github.com/pluginhost/host/host/spawner/client"
)

// processRunner lets go-plugin start a process through the spawner. It is
// go-plugin's runner.Runner.
type processRunner struct {
	process *Process
	spawner *client.Client
	ctx     context.Context // of the start
	cmd     *exec.Cmd       // carries go-plugin's environment
}

var _ runner.Runner = (*processRunner)(nil)

// attach is go-plugin's RunnerFunc.
func (r *processRunner) attach(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
	r.cmd = cmd
	return r, nil
}

// Start implements runner.Runner.
func (r *processRunner) Start(context.Context) error {
	p := r.process
	start := p.spec.Start
	start.Argv, start.Dir = []string{p.spec.Path}, p.dir
	start.Env = environment(p.spec.Env, p.dir, r.cmd.Env)
	child, err := r.spawner.Start(r.ctx, start, p.spec.Executable)
	if err != nil {
		return err
	}
	p.begin(child)
	if r.ctx.Err() != nil { // nobody waits for it any more
		r.kill()
		return context.Cause(r.ctx)
	}
	return nil
}

// kill ends the process group at once, if there is one.
func (r *processRunner) kill() {
	if c := r.process.child.Load(); c != nil {
		ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
		defer cancel()
		_ = c.Signal(ctx, unix.SIGKILL) // one that has ended needs none
	}
}

// Stdout implements runner.Runner: the handshake line, then the end.
func (r *processRunner) Stdout() io.ReadCloser { return r.process.out.line }

// Stderr implements runner.Runner: nothing, until the process ends.
func (r *processRunner) Stderr() io.ReadCloser { return untilDone{r.process.done} }

// Name implements runner.Runner.
func (r *processRunner) Name() string { return r.process.spec.Path }

// Diagnose implements runner.Runner.
func (r *processRunner) Diagnose(context.Context) string { return "" }

// Wait implements runner.Runner.
func (r *processRunner) Wait(context.Context) error {
	<-r.process.done
	return nil
}

// Kill implements runner.Runner.
func (r *processRunner) Kill(context.Context) error {
	r.kill()
	return nil
}

// ID implements runner.Runner.
func (r *processRunner) ID() string { return fmt.Sprint(r.process.Pid()) }

// PluginToHost implements runner.Runner. The plugin says where its control
// plane listens; only its own directory is believed.
func (r *processRunner) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(filepath.Clean(address)) != filepath.Clean(r.process.dir) {
		return "", "", fmt.Errorf("it listens on %s %q, outside its own directory (PLUGIN_UNIX_SOCKET_DIR)", clean(network, 20), clean(address, 120))
	}
	return network, address, nil
}

// HostToPlugin implements runner.Runner.
func (r *processRunner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// untilDone is a reader that has nothing and ends with the process.
type untilDone struct{ done <-chan struct{} }

func (u untilDone) Read([]byte) (int, error) {
	<-u.done
	return 0, io.EOF
}

func (u untilDone) Close() error { return nil }

// environment is all that a process gets.
func environment(own map[string]string, dir string, goPlugin []string) []string {
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG": "C.UTF-8", "TZ": "UTC", "HOME": dir, "TMPDIR": dir,
	}
	for k, v := range own {
		env[k] = v
	}
	for _, kv := range goPlugin { // last: nobody configures these
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	// In place of go-plugin's: the process's user can write to this one.
	env[plugin.EnvUnixSocketDir] = dir
	list := make([]string, 0, len(env))
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	return list
}

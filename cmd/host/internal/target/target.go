// Package target says which configuration and which daemon the global flags
// mean. It reads files at most: it calls no daemon.
package target

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pluginhost/host/host/config"
)

// Target is what the global flags say.
type Target struct {
	Dir       string   // of the configuration
	Addr      string   // of the daemon, unix:///PATH; empty for that of the configuration
	PluginDir string   // in place of the configured one
	StateDir  string   // in place of the configured one
	Vars      []string // name=value
	VarFiles  []string
}

// Source is the configuration.
func (t Target) Source() (config.Source, error) {
	s := config.Source{Dir: t.Dir, Vars: map[string]string{}, VarFiles: t.VarFiles, Env: os.Environ(),
		PluginDir: t.PluginDir, StateDir: t.StateDir}
	for _, v := range t.Vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			return s, fmt.Errorf("--var %s: write name=value", v)
		}
		s.Vars[name] = value
	}
	return s, nil
}

// State returns the state directory, also when the rest of the configuration is
// broken: a running daemon can be asked all the same.
func (t Target) State() (string, error) {
	if t.StateDir != "" {
		return filepath.Abs(t.StateDir)
	}
	s, err := t.Source()
	if err != nil {
		return "", err
	}
	s.HostOnly = true
	if files, _ := config.Open(s); files != nil {
		return files.Host().StateDir, nil
	}
	return filepath.Abs(filepath.Join(t.Dir, "state"))
}

// Elsewhere says how to name the daemon where nothing says that it is here.
func (t Target) Elsewhere() string {
	if t.Addr != "" || t.StateDir != "" {
		return ""
	}
	if files, _ := filepath.Glob(filepath.Join(t.Dir, "*.hcl")); len(files) > 0 {
		return ""
	}
	dir, err := filepath.Abs(t.Dir)
	if err != nil {
		dir = t.Dir
	}
	return fmt.Sprintf("\n%s holds no *.hcl file: -c names the directory of the configuration, --addr or HOST_ADDR the daemon", dir)
}

// Package process reads what the host is told of a plugin's process: who it runs
// as, what it may use, and how often it is started again.
package process

import (
	"slices"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/syntax"
)

// Settings are the host's own for a plugin's process.
type Settings struct {
	Isolation string            `json:"isolation,omitempty"` // "plugin" (default) or "instance"
	Env       map[string]string `json:"env,omitempty"`       // all there is, besides PATH, LANG, TZ, HOME and TMPDIR
	User      string            `json:"user,omitempty"`      // to run as; empty: the daemon's
	Memory    int64             `json:"memory,omitempty"`    // bytes; 0 for no limit, as below
	CPU       int64             `json:"cpu,omitempty"`       // thousandths of a processor
	Processes int               `json:"processes,omitempty"` // processes and threads
	OpenFiles int               `json:"open_files,omitempty"`
	FileSize  int64             `json:"file_size,omitempty"` // bytes of one file
	CoreSize  int64             `json:"core_size,omitempty"` // bytes of a core dump; 0 for none
	Require   []string          `json:"require,omitempty"`   // what the machine must be able to keep: Requirements
	Restart   Restart           `json:"restart"`
}

// Requirements are the words of process { require }.
var Requirements = []string{"memory", "cpu", "processes", "landlock", "seccomp", "sandbox"}

// Restart bounds how often a process that ended by itself is started again.
type Restart struct {
	Max     int           `json:"max"` // within Within; then the instance turns red
	Within  time.Duration `json:"within"`
	Backoff time.Duration `json:"backoff"` // before the first restart; doubles up to 30 s
}

// restartDefaults are what is not set.
var restartDefaults = Restart{Max: 5, Within: time.Minute, Backoff: 250 * time.Millisecond}

// Read reads the process block; nil is for none, and gives the defaults. What is
// wrong is told.
func Read(r *syntax.Reader, diags *diagnostic.List) Settings {
	p := Settings{Isolation: "plugin", Restart: restartDefaults}
	if r == nil {
		return p
	}
	r.OneOf("isolation", &p.Isolation, "plugin", "instance")
	if v, at, ok := r.Value("env", cty.Map(cty.String)); ok {
		p.Env = map[string]string{}
		for k, x := range v.AsValueMap() {
			if k == "" || strings.ContainsAny(k, "=\x00") || x.IsNull() || strings.ContainsRune(x.AsString(), 0) {
				diags.Problem("Not a usable environment", "A name has no =, and neither name nor value have NUL or are null.", at)
				continue
			}
			p.Env[k] = x.AsString()
		}
	}
	r.Text("user", &p.User)
	r.Bytes("memory", &p.Memory)
	if v, at, ok := r.Value("cpu", cty.Number); ok {
		n, _ := v.AsBigFloat().Float64()
		if p.CPU = int64(n * 1000); n < 0.001 || n > 10_000 {
			diags.Problem("Out of range", "cpu is how many processors the process may use, for example 0.5; at least 0.001.", at)
		}
	}
	r.Number("processes", &p.Processes, 1, 1_000_000)
	r.Number("open_files", &p.OpenFiles, 16, 1_000_000)
	r.Bytes("file_size", &p.FileSize)
	r.Bytes("core_size", &p.CoreSize)
	if v, at, ok := r.Value("require", cty.List(cty.String)); ok {
		for it := v.ElementIterator(); it.Next(); {
			_, x := it.Element()
			if x.IsNull() || !slices.Contains(Requirements, x.AsString()) {
				diags.Problem("Unknown requirement", "A process can require "+strings.Join(Requirements, ", ")+".", at)
				continue
			}
			p.Require = append(p.Require, x.AsString())
		}
	}
	if s := r.Block("restart"); s != nil {
		s.Number("max", &p.Restart.Max, 0, 1_000_000)
		s.Duration("within", &p.Restart.Within, time.Millisecond, 24*time.Hour)
		s.Duration("backoff", &p.Restart.Backoff, 0, time.Hour)
		s.Done()
	}
	r.Done()
	return p
}

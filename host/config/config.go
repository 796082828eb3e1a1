// Package config reads a directory of HCL into a typed configuration: it
// parses, evaluates variables, locals and expressions, checks plugins against
// the schemas of their manifests and routes against their payloads, and says
// what is wrong with file, line and column. It starts nothing and asks the
// machine nothing but the files it reads; host/apply does the rest.
package config

import (
	"encoding/json"
	"time"

	"github.com/pluginhost/host/sdk/schema"
)

// Config is one complete, checked configuration.
type Config struct {
	Dir       string // absolute
	Host      Host
	Instances []Instance // by address
	Routes    []Route    // in the order of files by name, then of lines
}

// Host is the host block, with defaults filled in.
type Host struct {
	PluginDir    string // absolute
	StateDir     string // absolute
	Node         string // name of this node; the machine's host name unless set
	DrainTimeout time.Duration
	OnChange     string        // "reload" (default: a changed executable is used at the next reload) or "upgrade"
	Describe     time.Duration // deadline of a plugin's Describe
	Start        time.Duration // deadline of a plugin's start
	Verify       time.Duration // deadline of one instance's Verify
	Prepare      time.Duration // deadline of one instance's Prepare
	LogLevel     string        // trace, debug, info, warn, error
}

// Instance is a configured plugin.
type Instance struct {
	Address   string // http.orders or exec.bill["eu"]
	Plugin    string
	Name      string
	Key       string // of for_each, or empty
	Digest    string // SHA-256 of the plugin's executable, hex
	Manifest  *schema.Manifest
	Config    json.RawMessage // canonical JSON by the schema. Holds secrets: never print
	Shown     json.RawMessage // the same with every secret as "(secret)"
	Resources []Resource      // in schema order
	DependsOn []string        // addresses, sorted: depends_on and references
	Process   Process
	Range     Range            // of the block's header
	Attrs     map[string]Range // top-level attribute name to its range
}

// Resource is a descriptor that the instance asks for by an attribute of kind
// listener or file.
type Resource struct {
	Attribute string      // path of the attribute, for example listen or tls.cert
	Kind      schema.Kind // Listener or File
	Value     string      // tcp://127.0.0.1:80, or an absolute path
	Access    string      // of a file
	Range     Range
}

// Process holds the host's own settings for a plugin's process.
type Process struct {
	Isolation string            `json:"isolation,omitempty"` // "plugin" (default) or "instance"
	Env       map[string]string `json:"env,omitempty"`       // all there is, besides PATH, LANG, TZ, HOME and TMPDIR
	User      string            `json:"user,omitempty"`      // parsed now, applied by the privileged spawner
	Memory    int64             `json:"memory,omitempty"`    // bytes; 0 for no limit
	Restart   Restart           `json:"restart"`
}

// Restart bounds how often a process that ended by itself is started again.
type Restart struct {
	Max     int           `json:"max"` // within Within; then the instance turns red
	Within  time.Duration `json:"within"`
	Backoff time.Duration `json:"backoff"` // before the first restart; doubles up to 30 s
}

// Endpoint is one event or action of an instance.
type Endpoint struct {
	Instance string `json:"instance"` // address, or "host" for the host's own events
	Name     string `json:"name"`
	Range    Range  `json:"-"`
}

// Route delivers events to an action.
type Route struct {
	Name     string
	From     []Endpoint
	To       Endpoint
	When     *Expr // nil: always
	Input    *Expr // nil: the event's data as it is
	Delivery Delivery
	Text     string // canonical text of the whole route; equal texts are equal routes
	Range    Range
}

// Delivery is the policy of a route.
type Delivery struct {
	Timeout     time.Duration // of one attempt; default 30 s
	Attempts    int           // default 3
	Backoff     time.Duration // before the second attempt, doubles; default 100 ms
	MaxBackoff  time.Duration // default 10 s
	Await       bool          // the promise waits for this route; default true
	Queue       int           // deliveries waiting; default 1024
	Overflow    string        // block (default), reject, drop_oldest
	Concurrency int           // in flight at once; 0: as the instance has credit
	Order       string        // "" or "subject"
	DeadLetter  *Endpoint     // an action, or nil
	Durable     bool          // refused for now with a diagnostic that says so
}

// Range is a place in a file. Line and Column count from 1, Column in
// characters; a zero Line means no place.
type Range struct {
	File      string `json:"file"` // as the user named the directory, joined with the file's name
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndLine   int    `json:"end_line,omitempty"`
	EndColumn int    `json:"end_column,omitempty"`
}

// Diagnostic is something to tell the user about the configuration.
type Diagnostic struct {
	Severity schema.Severity `json:"severity"`
	Summary  string          `json:"summary"`
	Detail   string          `json:"detail"`
	Address  string          `json:"address,omitempty"` // instance or route, where known
	Range
	Snippet string `json:"snippet,omitempty"` // the source lines; never values
}

// Diagnostics is what is wrong, in the order of files and lines.
type Diagnostics []Diagnostic

// HasErrors reports whether one of them is an error.
func (d Diagnostics) HasErrors() bool {
	for _, x := range d {
		if x.Severity == schema.Error {
			return true
		}
	}
	return false
}

// Source says where a configuration comes from.
type Source struct {
	Dir       string            // holds *.hcl
	Vars      map[string]string // from -var name=value
	VarFiles  []string          // from -var-file: HCL or JSON files of values
	Env       []string          // os.Environ(): HOST_VAR_name=value, and what env() sees
	PluginDir string            // overrides host.plugin_dir; relative to the working directory
	StateDir  string            // overrides host.state_dir
}

// Plugins tells what plugins there are. host/catalog's Snapshot is one.
type Plugins interface {
	// Manifest returns the manifest and digest of the plugin used for name.
	Manifest(name string) (m *schema.Manifest, digest string, ok bool)
	// Names returns the names of all usable plugins, sorted.
	Names() []string
	// Rejected returns why an executable whose file or plugin name is name
	// cannot be used, or "".
	Rejected(name string) string
}

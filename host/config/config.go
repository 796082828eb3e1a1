// Package config reads a directory of HCL into a typed configuration: it
// parses, evaluates variables, locals and expressions, checks plugins against
// the schemas of their manifests and routes against their payloads, and says
// what is wrong with file, line and column. It starts nothing and asks the
// machine nothing but the files it reads; host/apply does the rest.
package config

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/pluginhost/host/host/config/attribute"
	"github.com/pluginhost/host/host/config/delivery"
	"github.com/pluginhost/host/host/config/diagnostic"
	"github.com/pluginhost/host/host/config/expression"
	"github.com/pluginhost/host/host/config/process"
	"github.com/pluginhost/host/host/config/reference"
	"github.com/pluginhost/host/host/config/scenario"
	"github.com/pluginhost/host/host/config/syntax"
	"github.com/pluginhost/host/host/config/variable"
	"github.com/pluginhost/host/sdk/schema"
)

// Config is one complete, checked configuration.
type Config struct {
	Dir       string // absolute
	Host      Host
	Instances []Instance // by address
	Routes    []Route    // in the order of files by name, then of lines
	Tests     []Test     // likewise
	Secrets   []string   // values that nothing shown may hold. Never print
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
	Load         time.Duration // deadline of reading a configuration
	Reserve      time.Duration // deadline of reserving what new instances need
	Verify       time.Duration // deadline of one instance's Verify
	Prepare      time.Duration // deadline of one instance's Prepare
	Commit       time.Duration // deadline of one instance's Commit
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
	Print     string           // equal for instances of equal Digest, Config and Process; empty: not known
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

// Range is a place in a file of the configuration.
type Range = diagnostic.Range

// Diagnostic is one thing said of a configuration, and where.
type Diagnostic = diagnostic.Diagnostic

// Diagnostics are all that is said of a configuration.
type Diagnostics = diagnostic.Diagnostics

// Test is a test block; host/trial runs it.
type Test = scenario.Test

// Reply is what an action answers in a test.
type Reply = scenario.Reply

// Expr is a compiled expression over an event.
type Expr = expression.Expr

// Process holds the host's own settings for a plugin's process.
type Process = process.Settings

// Restart bounds how often a process that ended by itself is started again.
type Restart = process.Restart

// Endpoint is one event or action of an instance.
type Endpoint = reference.Endpoint

// Delivery is the policy of a route.
type Delivery = delivery.Policy

// Resource is a descriptor that an instance asks for.
type Resource = attribute.Resource

// Source says where a configuration comes from.
type Source struct {
	Dir       string            // holds *.hcl
	Base      string            // where relative paths start, when that is not Dir: the files are a copy
	Vars      map[string]string // from --var name=value
	VarFiles  []string          // from -var-file: HCL or JSON files of values
	Env       []string          // os.Environ(): HOST_VAR_name=value, and what env() sees
	PluginDir string            // overrides host.plugin_dir; relative to the working directory
	StateDir  string            // overrides host.state_dir
	Offline   bool              // a plugin that is not known is a warning: there may be no executables here
	Cache     *Cache            // what was read before, or nil
	HostOnly  bool              // only what the host block needs is of interest: no Build follows
}

// Text is a file that a configuration was read from.
type Text = variable.Text

// Given is the value of a variable that came as text, from a flag or the
// environment.
type Given = variable.Given

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

// Format returns the canonical form of a file. A file that cannot be parsed is
// not formatted.
func Format(src []byte, filename string) ([]byte, Diagnostics) { return syntax.Format(src, filename) }

// Place finds the range of an attribute: of the resource, of its top-level
// attribute, or of the whole instance.
func (in *Instance) Place(attribute string) Range {
	for _, r := range in.Resources {
		if r.Attribute == attribute && attribute != "" {
			return r.Range
		}
	}
	if r, ok := in.Attrs[attribute]; ok {
		return r
	}
	top, _, _ := strings.Cut(attribute, ".")
	top, _, _ = strings.Cut(top, "[")
	if r, ok := in.Attrs[top]; ok {
		return r
	}
	return in.Range
}

// Find returns the instance at an address, or nil.
func (c *Config) Find(address string) *Instance {
	n, ok := slices.BinarySearchFunc(c.Instances, address, func(i Instance, a string) int { return strings.Compare(i.Address, a) })
	if !ok {
		return nil
	}
	return &c.Instances[n]
}

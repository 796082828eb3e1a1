// Package schema is the language in which a plugin says what it is: its
// manifest, the attributes of its configuration and the payloads of its
// events and actions. It holds plain values and the rules between them; it
// knows neither HCL nor protobuf. sdk writes schemas, host reads them.
package schema

import "encoding/json"

// Kind is what a value means. The first seven are shapes; the rest appear in
// configuration only and say what host does with the value.
type Kind string

// Shapes.
const (
	Any    Kind = "any"
	String Kind = "string"
	Number Kind = "number"
	Bool   Kind = "bool"
	List   Kind = "list"   // of Elem
	Map    Kind = "map"    // string to Elem
	Object Kind = "object" // of Fields
)

// Meanings, for configuration. The comment gives the HCL form, then what the
// plugin gets in the configuration's JSON.
const (
	Duration   Kind = "duration"   // "1m30s"; a number of nanoseconds
	Bytes      Kind = "bytes"      // "64KiB"; a number of bytes
	Secret     Kind = "secret"     // a string, never printed; a string
	URL        Kind = "url"        // an absolute URL; a string
	Template   Kind = "template"   // Go text/template source; a string
	Listener   Kind = "listener"   // "tcp://127.0.0.1:80"; the string, the socket comes as a lease
	File       Kind = "file"       // a path; the absolute path, the file comes as a lease
	Executable Kind = "executable" // a path with a slash; the absolute path
	Instance   Kind = "instance"   // http.orders; the address as a string
)

// Type is the type of an attribute or payload.
type Type struct {
	Kind   Kind    `json:"kind"`
	Elem   *Type   `json:"elem,omitempty"`   // List and Map
	Fields []Field `json:"fields,omitempty"` // Object, in declared order
}

// Field is a named attribute of an object or of a configuration.
type Field struct {
	Name     string          `json:"name"`
	Type     Type            `json:"type"`
	Required bool            `json:"required,omitempty"`
	Default  json.RawMessage `json:"default,omitempty"` // in the HCL form, as JSON: "10s", 8, ["a"]
	Doc      string          `json:"doc,omitempty"`
	OneOf    []string        `json:"one_of,omitempty"` // String only
	Access   string          `json:"access,omitempty"` // File only: read, append, write, directory
}

// Manifest is what a plugin says of itself.
type Manifest struct {
	Name         string   `json:"name"`
	Version      string   `json:"version"` // semantic version without a leading v
	Doc          string   `json:"doc,omitempty"`
	Config       []Field  `json:"config,omitempty"`
	Events       []Event  `json:"events,omitempty"`
	Actions      []Action `json:"actions,omitempty"`
	Capabilities []string `json:"capabilities,omitempty"`
}

// Event declares an event that a plugin emits.
type Event struct {
	Name string `json:"name"`
	Doc  string `json:"doc,omitempty"`
	Data Type   `json:"data"`
}

// Action declares an action that a plugin handles.
type Action struct {
	Name   string `json:"name"`
	Doc    string `json:"doc,omitempty"`
	Input  Type   `json:"input"`
	Output Type   `json:"output"`
}

// Severity of a Diagnostic.
type Severity string

// Severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Diagnostic is a plugin's word on its configuration. Attribute names the
// attribute at fault, empty for the whole instance; host adds the source range.
type Diagnostic struct {
	Severity  Severity `json:"severity"`
	Summary   string   `json:"summary"`
	Detail    string   `json:"detail,omitempty"`
	Attribute string   `json:"attribute,omitempty"`
}
